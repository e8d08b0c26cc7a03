"""One inbox connection and its only statement: an insert of several deliveries at once."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import psycopg
from sqlalchemy import Connection, Engine, Insert, Table, bindparam, case, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

from models.core.postgresql import under_settings
from models.tables.base import db_now
from models.tables.delivery import Delivery
from webhook.receiver.socket_timeout import SocketTimeout

# A larger batch saves little more, and makes its first request wait for its last.
MOST_ROWS = 16
# For the rows of a batch that timed out on a lock: each has already waited once.
_SHORT_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '100ms'"
_TABLE = cast("Table", Delivery.__table__)
_GIVEN = tuple(
    column.name
    for column in _TABLE.columns
    if column.name not in ("received_at", "last_received_at", "copies", "applied_at")
)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """How often this message has arrived, and whether its body is the first one's."""

    copies: int
    is_same_body: bool


Outcome = Stored | Exception


class PooledConnection:
    """One connection, opened at first use and reopened after it broke."""

    def __init__(self, engine: Engine, socket_timeout: SocketTimeout) -> None:
        self._engine = engine
        self._socket_timeout = socket_timeout
        self._connection: Connection | None = None

    def store(self, rows: Sequence[Row], until: float, *, hurry: bool = False) -> list[Stored]:
        """Commit all of these rows or none; no two may have the same id.

        `hurry` shortens the wait for a lock.
        """
        if self._connection is not None:
            try:
                return self._execute(self._connection, rows, until, hurry=hurry)
            except (DBAPIError, psycopg.Error) as error:
                # After a server restart the old connection is dead; a new one may work.
                if not self._is_dead(error) or time.monotonic() >= until:
                    raise
                self.close()
        self._connection = self._engine.connect()
        return self._execute(self._connection, rows, until, hurry=hurry)

    def recover(self) -> None:
        """Keep the connection after one row's error, unless a transaction is still open."""
        driver = self._driver()
        if not isinstance(driver, psycopg.Connection) or _is_open(driver):
            self.close()

    def close(self) -> None:
        """Drop the connection, whatever state it is in."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _is_dead(self, error: DBAPIError | psycopg.Error) -> bool:
        if isinstance(error, DBAPIError):
            return error.connection_invalidated
        driver = self._driver()
        return driver is None or driver.closed or driver.broken

    def _driver(self) -> Any:
        return self._connection.connection.driver_connection if self._connection else None

    def _execute(
        self, connection: Connection, rows: Sequence[Row], until: float, *, hurry: bool
    ) -> list[Stored]:
        driver = connection.connection.driver_connection
        if isinstance(driver, psycopg.Connection):
            lock_wait = _short_lock_wait(driver) if hurry else nullcontext()
            with (
                self._socket_timeout.watching(driver.fileno(), until),
                under_settings(connection),
                lock_wait,
            ):
                return _prepared(len(rows)).execute(driver, rows)
        return _store_in_sqlite(connection, rows)


def _is_open(driver: "psycopg.Connection[Any]") -> bool:
    idle = psycopg.pq.TransactionStatus.IDLE
    return bool(driver.closed) or driver.info.transaction_status != idle


@contextmanager
def _short_lock_wait(driver: "psycopg.Connection[Any]") -> Iterator[None]:
    # A pooler hands the connection to others, so the setting has to end with the transaction.
    with driver.transaction():
        driver.execute(_SHORT_LOCK_TIMEOUT)
        yield


class _Prepared:
    """The statement compiled for psycopg, which takes a third of SQLAlchemy's CPU time."""

    def __init__(self, count: int) -> None:
        # The dialect's types know their casts; its constructor is not typed.
        dialect = postgresql.psycopg.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
        compiled: SQLCompiler = _insert_many(count).compile(dialect=dialect)
        self._sql = compiled.string
        values = {f"{name}_{place}": (place, name) for place in range(count) for name in _GIVEN}
        self._values = [values[name] for name in compiled.positiontup or []]

    def execute(self, driver: "psycopg.Connection[Any]", rows: Sequence[Row]) -> list[Stored]:
        # psycopg prepares it on the server from the fifth execution on.
        with psycopg.RawCursor(driver) as cursor:
            cursor.execute(self._sql, [rows[place][name] for place, name in self._values])
            found = {id_: (copies, first_body) for id_, copies, first_body in cursor.fetchall()}
        return [_stored(row, *found[row["id"]]) for row in rows]


def _stored(row: Row, copies: int, first_body: bytes | None) -> Stored:
    return Stored(copies, copies == 1 or first_body == row["body"])


@cache
def _prepared(count: int) -> _Prepared:
    return _Prepared(count)


def _insert_many(count: int) -> Insert:
    arrived = {"received_at": db_now(), "last_received_at": db_now()}
    rows = [
        {name: bindparam(f"{name}_{place}", type_=_TABLE.c[name].type) for name in _GIVEN} | arrived
        for place in range(count)
    ]
    statement = postgresql.insert(_TABLE).values(rows)
    statement = statement.on_conflict_do_update(index_elements=["id"], set_=_again())
    first_body = case((_TABLE.c.copies > literal_column("1"), _TABLE.c.body))
    return statement.returning(_TABLE.c.id, _TABLE.c.copies, first_body)


def _again() -> dict[str, Any]:
    return {"copies": _TABLE.c.copies + literal_column("1"), "last_received_at": db_now()}


def _store_in_sqlite(connection: Connection, rows: Sequence[Row]) -> list[Stored]:
    """Store the rows one by one in one transaction: SQLite has no round trips to save."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    found = [connection.execute(_insert_one(), row).one() for row in rows]
    connection.exec_driver_sql("COMMIT")
    return [Stored(one.copies, bool(one.is_same_body)) for one in found]


@cache
def _insert_one() -> Insert:
    arrived = {"received_at": db_now(), "last_received_at": db_now()}
    statement = sqlite.insert(_TABLE)
    statement = statement.values({**{name: bindparam(name) for name in _GIVEN}, **arrived})
    statement = statement.on_conflict_do_update(index_elements=["id"], set_=_again())
    is_same_body = (_TABLE.c.body == bindparam("body")).label("is_same_body")
    return statement.returning(_TABLE.c.copies, is_same_body)
