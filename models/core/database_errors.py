"""Classifies database errors: the database is unavailable, a row is bad, or the code is wrong."""

import re
import sqlite3
from enum import Enum, auto

import psycopg
from sqlalchemy.exc import DataError as BadValueError
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

LONGEST_REASON = 300


class ErrorKind(Enum):
    """The cause of a database error."""

    UNAVAILABLE = auto()  # no answer at the moment; a retry may succeed
    LOCKED = auto()  # another transaction holds the lock; retry later
    REFUSED = auto()  # the role lacks a permission, schema or database; an operator must fix it
    BAD_ROW = auto()  # the values of one row cannot be stored; other rows can
    BUG = auto()  # the statement or our code is wrong; a retry fails again


# SQLSTATE codes (https://www.postgresql.org/docs/current/errcodes-appendix.html). A full code takes
# precedence over its class, which is the first two characters.
_STATES = {
    "25006": ErrorKind.UNAVAILABLE,  # read-only, as after a failover
    "25P03": ErrorKind.UNAVAILABLE,  # idle-in-transaction timeout
    "25P04": ErrorKind.UNAVAILABLE,
    "40001": ErrorKind.LOCKED,
    "40P01": ErrorKind.LOCKED,
    "3D000": ErrorKind.REFUSED,  # no such database
    "3F000": ErrorKind.REFUSED,  # no such schema
    "42501": ErrorKind.REFUSED,
    # Limits that one row's values can exceed, such as an index entry's size.
    "54000": ErrorKind.BAD_ROW,
    "54001": ErrorKind.BAD_ROW,
    "54011": ErrorKind.BUG,
    "54023": ErrorKind.BUG,
    "55P03": ErrorKind.LOCKED,
}
_CLASSES = {
    "08": ErrorKind.UNAVAILABLE,  # connection exception
    "22": ErrorKind.BAD_ROW,  # data
    "23": ErrorKind.BAD_ROW,  # constraints
    "28": ErrorKind.UNAVAILABLE,  # invalid authorization
    "40": ErrorKind.UNAVAILABLE,
    "53": ErrorKind.UNAVAILABLE,  # insufficient memory, disk or connections
    "55": ErrorKind.UNAVAILABLE,
    "57": ErrorKind.UNAVAILABLE,  # cancelled, starting, stopping
    "58": ErrorKind.UNAVAILABLE,  # system error
    "XX": ErrorKind.UNAVAILABLE,
}
_CANCELED = "57014"
_SQLITE_BUGS = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE}
_SQLITE_ROWS = {sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}
# Not all of Exception: a timeout classified as a bad row would be swallowed.
_ROWS_OWN = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
# The message of the server or pooler, without the client's prefix.
_SAID = re.compile(r"(?:FATAL|ERROR|PANIC): +([^\n]+)")
_FAILED = re.compile(r"^.* failed: |^connection is bad: |^\(\S+\) ")
_CREDENTIALS = re.compile(r"\S*://\S*@\S*|password=\S+")


def classify(error: BaseException) -> ErrorKind:
    """Return the kind of an error, whichever library raised it."""
    cause = _cause(error)
    if isinstance(cause, psycopg.Error):
        return _of_postgresql(cause)
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause)
    if isinstance(cause, (BadValueError, IntegrityError, *_ROWS_OWN)):
        return ErrorKind.BAD_ROW
    is_away = isinstance(cause, PoolTimeoutError | DBAPIError)
    return (
        ErrorKind.UNAVAILABLE
        if is_away and not isinstance(cause, ProgrammingError)
        else ErrorKind.BUG
    )


def is_unavailable(error: BaseException) -> bool:
    """Whether a retry may succeed: the database is unavailable or a lock is held."""
    return classify(error) in (ErrorKind.UNAVAILABLE, ErrorKind.LOCKED)


def is_too_slow(error: BaseException) -> bool:
    """Whether a statement exceeded its timeout; a retry would take as long."""
    cause = _cause(error)
    return isinstance(cause, psycopg.Error) and cause.sqlstate == _CANCELED


def is_bad_row(error: BaseException) -> bool:
    """Whether the values of a row caused the error."""
    return classify(error) is ErrorKind.BAD_ROW


def reason(error: BaseException) -> str:
    """Return the server's message as one line of at most 300 characters, without credentials."""
    cause = _cause(error)
    said = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    if said is None:
        text = str(cause)
        found = _SAID.search(text)
        said = found[1] if found else _FAILED.sub("", text.strip().partition("\n")[0])
    shown = _CREDENTIALS.sub("…", said).strip()
    return " ".join(shown.split())[:LONGEST_REASON] or type(cause).__name__


def _cause(error: BaseException) -> BaseException:
    """Return the driver's error if SQLAlchemy has wrapped it."""
    inner = error.orig if isinstance(error, StatementError) else None
    # A plain Exception, as a fake raises, says less than the SQLAlchemy error.
    return error if inner is None or type(inner) is Exception else inner


def _of_postgresql(error: psycopg.Error) -> ErrorKind:
    state = error.sqlstate
    if state is not None:
        return _STATES.get(state, _CLASSES.get(state[:2], ErrorKind.BUG))
    # Errors without a SQLSTATE come from the client: the connection, or a value it cannot send.
    if isinstance(error, psycopg.DataError):
        return ErrorKind.BAD_ROW
    is_away = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return ErrorKind.UNAVAILABLE if is_away else ErrorKind.BUG


def _of_sqlite(error: sqlite3.Error) -> ErrorKind:
    # The lowest byte is the primary result code. The sqlite3 module's own errors have none.
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return ErrorKind.BUG
    kind = code & 0xFF
    if kind in _SQLITE_ROWS:
        return ErrorKind.BAD_ROW
    return ErrorKind.BUG if kind in _SQLITE_BUGS else ErrorKind.UNAVAILABLE
