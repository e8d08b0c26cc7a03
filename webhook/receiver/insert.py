"""A connection of the inbox's, and the one statement that it knows: so many deliveries at once."""

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

# A larger batch saves little more, and keeps its first request waiting for its last.
MOST_ROWS = 16
# Of a batch whose time-out for a lock is over: each of its rows has waited already.
_HURRY = "SET LOCAL lock_timeout = '100ms'"
_TABLE = cast("Table", Delivery.__table__)
_GIVEN = tuple(
    column.name
    for column in _TABLE.columns
    if column.name not in ("received_at", "last_received_at", "copies", "applied_at")
)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """How often this message has arrived, and whether it said the same as the first time."""

    copies: int
    is_same_body: bool


Outcome = Stored | Exception


class PooledConnection:
    """One connection, opened at first use, and again after it broke."""

    def __init__(self, engine: Engine, watchdog: SocketTimeout) -> None:
        self._engine = engine
        self._watchdog = watchdog
        self._connection: Connection | None = None

    def store(self, rows: Sequence[Row], until: float, *, hurry: bool = False) -> list[Stored]:
        """Commit these, of which no two have one id, all or none of them.

        In a hurry a lock is hardly waited for.
        """
        if self._connection is not None:
            try:
                return self._execute(self._connection, rows, until, hurry=hurry)
            except (DBAPIError, psycopg.Error) as error:
                # A server that restarted has left a dead connection behind: a new one may do.
                if not self._is_dead(error) or time.monotonic() >= until:
                    raise
                self.close()
        self._connection = self._engine.connect()
        return self._execute(self._connection, rows, until, hurry=hurry)

    def recover(self) -> None:
        """Keep the connection after a row's error, where nothing is left open on it."""
        driver = self._driver()
        if not isinstance(driver, psycopg.Connection) or _is_open(driver):
            self.close()

    def close(self) -> None:
        """Let the connection go, whatever state it is in."""
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
            pace = _hurrying(driver) if hurry else nullcontext()
            with (
                self._watchdog.watching(driver.fileno(), until),
                under_settings(connection),
                pace,
            ):
                return _prepared(len(rows)).execute(driver, rows)
        return _store_in_sqlite(connection, rows)


def _is_open(driver: "psycopg.Connection[Any]") -> bool:
    idle = psycopg.pq.TransactionStatus.IDLE
    return bool(driver.closed) or driver.info.transaction_status != idle


@contextmanager
def _hurrying(driver: "psycopg.Connection[Any]") -> Iterator[None]:
    # A pooler's connection is another's afterwards: what is set ends with the transaction.
    with driver.transaction():
        driver.execute(_HURRY)
        yield


class _Prepared:
    """The statement as psycopg takes it: a third of the CPU time that it costs by SQLAlchemy."""

    def __init__(self, count: int) -> None:
        # Its types know their casts; it has no types itself.
        dialect = postgresql.psycopg.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
        compiled: SQLCompiler = _insert_many(count).compile(dialect=dialect)
        self._sql = compiled.string
        values = {f"{name}_{place}": (place, name) for place in range(count) for name in _GIVEN}
        self._values = [values[name] for name in compiled.positiontup or []]

    def execute(self, driver: "psycopg.Connection[Any]", rows: Sequence[Row]) -> list[Stored]:
        # psycopg prepares it at the server by itself, from the fifth time on.
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
    """Store them one after the other, in one transaction: a round trip costs nothing there."""
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
