"""Where deliveries are committed: one statement, one commit, within five seconds or not at all."""

import queue
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import psycopg
import structlog
from sqlalchemy import Connection, Engine, Insert, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.sql.compiler import SQLCompiler

from models.base import db_now
from models.database import make_engine
from models.delivery import Delivery
from models.settings import Settings
from webhook.watchdog import Watchdog

# The sender waits 15 s (https://docs.recall.ai/docs/bot-status-change-events); our word is 5.
STORE_SECONDS = 4.0
# From here on it was a time-out of some kind, not a refusal.
SLOW_SECONDS = 1.5
RETRY_AFTER_SECONDS = 5
BREAKER_SECONDS = 2.0
# An insert takes a fraction of a millisecond: a few connections serve many threads, and a
# 20-connection plan has room for two deploys side by side. SQLite has one writer anyway.
LANES = 4
_TABLE = cast("Table", Delivery.__table__)
_GIVEN = tuple(
    column.name
    for column in _TABLE.columns
    if column.name not in ("received_at", "last_received_at", "copies", "applied_at")
)

logger = structlog.stdlib.get_logger(__name__)

Row = Mapping[str, Any]


class DatabaseAwayError(Exception):
    """Nothing was stored; the sender is to come again after `retry_after` seconds."""

    retry_after = RETRY_AFTER_SECONDS


@dataclass(frozen=True, slots=True)
class Stored:
    """How often this message has arrived, and whether it said the same as the first time."""

    copies: int
    is_same_body: bool


class Inbox:
    """Stores deliveries over a few autocommit connections that are kept ready."""

    def __init__(self, settings: Settings) -> None:
        lanes = 1 if settings.on_sqlite else LANES
        self._engine = make_engine(settings, "autocommit", pool_size=lanes)
        self._watchdog = Watchdog()
        # Last in, first out: the connection used last is the one most likely alive.
        self._free: queue.LifoQueue[_Lane] = queue.LifoQueue()
        for _ in range(lanes):
            self._free.put(_Lane(self._engine, self._watchdog))
        self._closed_until = 0.0

    def store(self, row: Row) -> Stored:
        """Commit one delivery, or count its copy; DatabaseAwayError within 5 s."""
        started = time.monotonic()
        try:
            lane = self._free.get(timeout=STORE_SECONDS)
        except queue.Empty:
            raise self._away(started, "no connection was free") from None
        try:
            # Asked again here: it may have been closed while this one waited for a lane.
            if time.monotonic() < self._closed_until:
                raise DatabaseAwayError
            return lane.store(row, until=started + STORE_SECONDS)
        except (SQLAlchemyError, psycopg.Error) as error:
            lane.close()
            raise self._away(started, type(error).__name__) from error
        finally:
            self._free.put(lane)

    def close(self) -> None:
        """Close the connections; only when nothing is being stored."""
        while not self._free.empty():
            self._free.get().close()
        self._watchdog.close()
        self._engine.dispose()

    def _away(self, started: float, why: str) -> DatabaseAwayError:
        now = time.monotonic()
        if now - started >= SLOW_SECONDS:
            # It let one wait: for a moment nobody else is made to.
            self._closed_until = now + BREAKER_SECONDS
        logger.warning("delivery not stored", error=why, seconds=round(now - started, 2))
        return DatabaseAwayError()


class _Lane:
    """One connection, opened at first use, and again after it broke."""

    def __init__(self, engine: Engine, watchdog: Watchdog) -> None:
        self._engine = engine
        self._watchdog = watchdog
        self._statement = _insert(on_sqlite=engine.dialect.name == "sqlite")
        self._prepared = _Prepared(_insert(on_sqlite=False))
        self._connection: Connection | None = None

    def store(self, row: Row, until: float) -> Stored:
        if self._connection is not None:
            try:
                return self._execute(self._connection, row, until)
            except (DBAPIError, psycopg.Error) as error:
                # A server that restarted has left a dead connection behind: a new one may do.
                if not self._is_dead(error) or time.monotonic() >= until:
                    raise
                self.close()
        self._connection = self._engine.connect()
        return self._execute(self._connection, row, until)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _is_dead(self, error: DBAPIError | psycopg.Error) -> bool:
        if isinstance(error, DBAPIError):
            return error.connection_invalidated
        driver = self._connection.connection.driver_connection if self._connection else None
        return driver is None or driver.closed or driver.broken

    def _execute(self, connection: Connection, row: Row, until: float) -> Stored:
        driver = connection.connection.driver_connection
        if isinstance(driver, psycopg.Connection):
            with self._watchdog.watching(driver.fileno(), until):
                return self._prepared.execute(driver, row)
        found = connection.execute(self._statement, row).one()
        return Stored(found.copies, bool(found.is_same_body))


class _Prepared:
    """The statement as psycopg takes it: a third of the CPU time that it costs by SQLAlchemy."""

    def __init__(self, statement: Insert) -> None:
        # Its types know their casts; it has no types itself.
        dialect = postgresql.psycopg.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
        compiled: SQLCompiler = statement.compile(dialect=dialect)
        self._sql = compiled.string
        self._names = compiled.positiontup or []
        self._constants = compiled.params

    def execute(self, driver: "psycopg.Connection[Any]", row: Row) -> Stored:
        # psycopg prepares it at the server by itself, from the fifth time on.
        values = self._constants | row
        with psycopg.RawCursor(driver) as cursor:
            cursor.execute(self._sql, [values[name] for name in self._names])
            copies, is_same_body = cursor.fetchone() or (0, False)
        return Stored(copies, is_same_body)


def _insert(*, on_sqlite: bool) -> Insert:
    insert = sqlite.insert(_TABLE) if on_sqlite else postgresql.insert(_TABLE)
    arrived = {"received_at": db_now(), "last_received_at": db_now()}
    statement = insert.values({**{name: bindparam(name) for name in _GIVEN}, **arrived})
    again = {"copies": _TABLE.c.copies + 1, "last_received_at": db_now()}
    statement = statement.on_conflict_do_update(index_elements=["id"], set_=again)
    is_same_body = (_TABLE.c.body == bindparam("body")).label("is_same_body")
    return statement.returning(_TABLE.c.copies, is_same_body)
