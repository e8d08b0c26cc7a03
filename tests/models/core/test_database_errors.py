"""Database errors are classified: unavailable, locked, refused, bad row or bug."""

import sqlite3
from contextlib import closing

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from models.core.database_errors import ErrorKind, classify, is_bad_row, is_unavailable, reason
from models.tables.bot import Bot
from tests.support.fakes import BOT
from tests.support.rows import add_bot

# Every SQLSTATE that psycopg has an exception for.
CONDITIONS = sorted(
    (
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, psycopg.Error) and found.sqlstate
    ),
    key=lambda kind: str(kind.sqlstate),
)
# Classes of https://www.postgresql.org/docs/current/errcodes-appendix.html
AWAY = {"08", "28", "53", "57", "58", "XX"}
ROW = {"22", "23"}
SINGLE = {
    "25006": ErrorKind.UNAVAILABLE,
    "25P03": ErrorKind.UNAVAILABLE,
    "25P04": ErrorKind.UNAVAILABLE,
    "40001": ErrorKind.LOCKED,
    "40P01": ErrorKind.LOCKED,
    "55P03": ErrorKind.LOCKED,
    "3D000": ErrorKind.REFUSED,
    "3F000": ErrorKind.REFUSED,
    "42501": ErrorKind.REFUSED,
    "54000": ErrorKind.BAD_ROW,
    "54001": ErrorKind.BAD_ROW,
}
CONNECTION_FAILED = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '
HOST = "host 'db.example': [Errno -2] Name or service not known"
SEVERAL = (
    "Multiple connection attempts failed. All failures were:\n- host: 'db', port: 5432, "
    "hostaddr: '::1': connection failed: FATAL:  no such database\n- host: 'db', …"
)
NO_SOCKET = (
    'connection is bad: connection to server on socket "/x/.s" failed: No such file or '
    "directory\n\tIs the server running locally?"
)


@pytest.mark.parametrize("kind", CONDITIONS, ids=lambda kind: f"{kind.sqlstate}")
def test_each_sqlstate_is_classified_by_its_class(kind: type[psycopg.Error]) -> None:
    """Raw and wrapped by SQLAlchemy; a state in no list is a bug."""
    state = str(kind.sqlstate)
    if state in SINGLE:
        expected = SINGLE[state]
    elif state[:2] in AWAY | {"40", "55"}:
        expected = ErrorKind.UNAVAILABLE
    else:
        expected = ErrorKind.BAD_ROW if state[:2] in ROW else ErrorKind.BUG
    raised = kind("words")
    assert classify(raised) is expected
    wrapped = DBAPIError.instance("SELECT", {}, raised, psycopg.Error, dialect=None)
    assert classify(wrapped) is expected


@pytest.mark.parametrize(
    "value", ["\ud800", "nul\x00", 2**70], ids=["a surrogate", "NUL", "a number beyond 64 bits"]
)
def test_a_value_that_cannot_be_stored_is_a_bad_row(engine: Engine, value: object) -> None:
    """Whichever exception the driver raises. SQLite stores text with a NUL."""
    add_bot(engine, BOT)
    column = Bot.attempts if isinstance(value, int) else Bot.status
    statement = Bot.__table__.update().values({column: value})  # type: ignore[attr-defined]
    if engine.dialect.name == "sqlite" and value == "nul\x00":
        return
    with pytest.raises(Exception) as caught, engine.begin() as connection:  # noqa: PT011
        connection.execute(statement)
    assert is_bad_row(caught.value)
    assert not is_unavailable(caught.value)


@pytest.mark.parametrize(
    "statement",
    ["SELECT 1 FROM nowhere", "SELECT nothing FROM bots", "SELEC 1", "SELECT nofunction(1)"],
)
def test_a_wrong_statement_is_a_bug(engine: Engine, statement: str) -> None:
    """Not an unavailable database, which would be retried, nor a bad row."""
    with pytest.raises(DBAPIError) as caught, engine.connect() as connection:
        connection.execute(text(statement))
    assert classify(caught.value) is ErrorKind.BUG


def _fail(statement: str) -> sqlite3.Error:
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(statement)
        except sqlite3.Error as error:
            return error
    raise LookupError(statement)


def test_a_busy_or_missing_sqlite_file_is_unavailable(tmp_path: object) -> None:
    """A value that is too large is a bad row."""
    path = f"{tmp_path}/busy.db"
    with (
        closing(sqlite3.connect(path, timeout=0)) as holder,
        closing(sqlite3.connect(path, timeout=0)) as other,
    ):
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            other.execute("BEGIN IMMEDIATE")
    assert is_unavailable(caught.value)
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(f"{tmp_path}/no/such/folder.db")
    assert is_unavailable(caught.value)
    assert classify(_fail("SELECT zeroblob(3000000000)")) is ErrorKind.BAD_ROW


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), RuntimeError(), OSError()])
def test_an_error_of_neither_row_nor_database_is_a_bug(error: BaseException) -> None:
    """A timeout classified as a bad row would be swallowed."""
    assert classify(error) is ErrorKind.BUG


def test_an_exhausted_connection_pool_is_unavailable() -> None:
    """SQLAlchemy raises this error, not the driver."""
    assert is_unavailable(PoolTimeoutError("QueuePool limit"))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            CONNECTION_FAILED + 'FATAL:  password authentication failed for user "app"',
            'password authentication failed for user "app"',
        ),
        (
            CONNECTION_FAILED + "Connection refused\n\tIs the server running on that host?",
            "Connection refused",
        ),
        (SEVERAL, "no such database"),
        (f"failed to resolve {HOST}", f"failed to resolve {HOST}"),
        (NO_SOCKET, "No such file or directory"),
        ("could not use postgresql://app:sekret@db/x", "could not use …"),
        ("", "OperationalError"),
    ],
)
def test_the_reason_is_the_servers_message(message: str, expected: str) -> None:
    """On one line, without the client's prefix of address and password."""
    raised = psycopg.OperationalError(message)
    wrapped = OperationalError("SELECT", {}, raised)
    assert reason(raised) == reason(wrapped) == expected


def test_the_reason_of_a_failed_statement_is_the_servers(engine: Engine) -> None:
    """Without the statement, its values and the details of the row."""
    add_bot(engine, BOT)
    with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
        connection.execute(text("INSERT INTO bots (id) SELECT id FROM bots"))
    assert "bots" in reason(caught.value)
    assert BOT not in reason(caught.value)
    assert "\n" not in reason(caught.value)
