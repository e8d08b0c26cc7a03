"""What an error of the database says: it is away, a row is bad, or a bug is ours."""

import re
import sqlite3
from enum import Enum, auto

import psycopg
from sqlalchemy.exc import DataError as BadValueError
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

LONGEST_REASON = 300


class ErrorKind(Enum):
    """Whom an error is about."""

    UNAVAILABLE = auto()  # no answer, or none now: the same may do later
    LOCKED = auto()  # another transaction holds what this one wants: later, or without that row
    REFUSED = auto()  # the role may not do this, or has nowhere to: a person has to mend it
    BAD_ROW = auto()  # what a row holds cannot be stored; without it the others can
    BUG = auto()  # the statement, or what is around it, is wrong: the same fails again


# PostgreSQL's conditions (https://www.postgresql.org/docs/current/errcodes-appendix.html): whole
# ones before the classes that their first two characters name.
_STATES = {
    "25006": ErrorKind.UNAVAILABLE,  # read-only, as a fail-over leaves a server
    "25P03": ErrorKind.UNAVAILABLE,  # idle in its transaction for too long
    "25P04": ErrorKind.UNAVAILABLE,
    "40001": ErrorKind.LOCKED,
    "40P01": ErrorKind.LOCKED,
    "3D000": ErrorKind.REFUSED,  # no such database
    "3F000": ErrorKind.REFUSED,  # no such schema
    "42501": ErrorKind.REFUSED,
    # A limit that a row can reach: text that outgrows an index, JSON that outgrows the stack.
    "54000": ErrorKind.BAD_ROW,
    "54001": ErrorKind.BAD_ROW,
    "54011": ErrorKind.BUG,
    "54023": ErrorKind.BUG,
    "55P03": ErrorKind.LOCKED,
}
_CLASSES = {
    "08": ErrorKind.UNAVAILABLE,  # the connection
    "22": ErrorKind.BAD_ROW,  # data
    "23": ErrorKind.BAD_ROW,  # constraints
    "28": ErrorKind.UNAVAILABLE,  # who we are
    "40": ErrorKind.UNAVAILABLE,
    "53": ErrorKind.UNAVAILABLE,  # memory, disk, connections
    "55": ErrorKind.UNAVAILABLE,
    "57": ErrorKind.UNAVAILABLE,  # cancelled, starting, stopping
    "58": ErrorKind.UNAVAILABLE,  # its system
    "XX": ErrorKind.UNAVAILABLE,
}
_CANCELED = "57014"
_SQLITE_BUGS = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE}
_SQLITE_ROWS = {sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}
# Not Exception: a time-out that is taken for a bad row would be swallowed.
_ROWS_OWN = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
# The server's or the pooler's word, whatever the client puts before it.
_SAID = re.compile(r"(?:FATAL|ERROR|PANIC): +([^\n]+)")
_FAILED = re.compile(r"^.* failed: |^connection is bad: |^\(\S+\) ")
_CREDENTIALS = re.compile(r"\S*://\S*@\S*|password=\S+")


def classify(error: BaseException) -> ErrorKind:
    """Tell whom an error is about, whichever library raised it."""
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
    """Whether the same is worth trying later: the database is away, or holds a lock."""
    return classify(error) in (ErrorKind.UNAVAILABLE, ErrorKind.LOCKED)


def is_too_slow(error: BaseException) -> bool:
    """Whether a statement outlived its time-out: the same takes as long again."""
    cause = _cause(error)
    return isinstance(cause, psycopg.Error) and cause.sqlstate == _CANCELED


def is_bad_row(error: BaseException) -> bool:
    """Whether what a row holds made it fail, and not the database's health or our schema."""
    return classify(error) is ErrorKind.BAD_ROW


def reason(error: BaseException) -> str:
    """Return the server's own first sentence on one line; it holds no password."""
    cause = _cause(error)
    said = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    if said is None:
        text = str(cause)
        found = _SAID.search(text)
        said = found[1] if found else _FAILED.sub("", text.strip().partition("\n")[0])
    shown = _CREDENTIALS.sub("…", said).strip()
    return " ".join(shown.split())[:LONGEST_REASON] or type(cause).__name__


def _cause(error: BaseException) -> BaseException:
    """Return the driver's own error, where SQLAlchemy has wrapped it."""
    inner = error.orig if isinstance(error, StatementError) else None
    # One without a kind of its own, as a fake has, says no more than what wraps it.
    return error if inner is None or type(inner) is Exception else inner


def _of_postgresql(error: psycopg.Error) -> ErrorKind:
    state = error.sqlstate
    if state is not None:
        return _STATES.get(state, _CLASSES.get(state[:2], ErrorKind.BUG))
    # Without a state it is the client's word: about the connection, or a value it cannot send.
    if isinstance(error, psycopg.DataError):
        return ErrorKind.BAD_ROW
    is_away = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return ErrorKind.UNAVAILABLE if is_away else ErrorKind.BUG


def _of_sqlite(error: sqlite3.Error) -> ErrorKind:
    # Only the library's own errors have a code, whose lowest byte is the kind.
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return ErrorKind.BUG
    kind = code & 0xFF
    if kind in _SQLITE_ROWS:
        return ErrorKind.BAD_ROW
    return ErrorKind.BUG if kind in _SQLITE_BUGS else ErrorKind.UNAVAILABLE
