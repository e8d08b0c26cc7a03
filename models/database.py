"""Engines for the two databases, each set up so that a hang ends and a commit is durable."""

import sqlite3
import time
from typing import Literal

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from models.settings import Settings

Mode = Literal["write", "read", "autocommit"]
SQLITE_BUSY_SECONDS = 4.0
WAL_PAUSE_SECONDS = 0.02
_CONNECT_SECONDS = 2
# Only a migration holds a lock for longer; whoever waits behind it piles up.
_LOCK_SECONDS = 2
# A webhook has four seconds in all: time to try those of its batch that are not locked.
_INBOX_LOCK_SECONDS = 1
# A statement of ours takes milliseconds; one that takes this long is caught in something.
_STATEMENT_SECONDS = 10


def make_engine(settings: Settings, mode: Mode, *, pool_size: int = 1) -> Engine:
    """Return an engine of at most `pool_size` connections; nothing is opened yet."""
    if settings.on_sqlite:
        return _sqlite(settings, mode, pool_size)
    return _postgresql(settings, mode, pool_size)


def _postgresql(settings: Settings, mode: Mode, pool_size: int) -> Engine:
    # `options` also works where a pooler would swallow a SET.
    lock_seconds = _INBOX_LOCK_SECONDS if mode == "autocommit" else _LOCK_SECONDS
    options = (
        f"-c timezone=UTC -c lock_timeout={lock_seconds}s "
        f"-c statement_timeout={_STATEMENT_SECONDS}s -c idle_in_transaction_session_timeout=60s"
    )
    if mode == "read":
        # A page is a hundred rows in an index's order: to start parallel workers, or to compile
        # the query, takes several times as long as to read them.
        options += " -c default_transaction_read_only=on"
        options += " -c max_parallel_workers_per_gather=0 -c jit=off"
    return create_engine(
        settings.database_url,
        isolation_level="AUTOCOMMIT" if mode == "autocommit" else "READ COMMITTED",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_CONNECT_SECONDS,
        # The inbox keeps its connections and notices a dead one by itself: no ping per statement.
        pool_pre_ping=mode != "autocommit",
        # Parameters hold bodies and names; an error that shows them tells a log too much.
        hide_parameters=True,
        # No column is one, and asking what it is costs each new process a round trip.
        use_native_hstore=False,
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            "options": options,
            "application_name": f"recall-links {mode}",
            "keepalives_idle": 20,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        },
    )


def _sqlite(settings: Settings, mode: Mode, pool_size: int) -> Engine:
    engine = create_engine(
        settings.database_url,
        isolation_level="AUTOCOMMIT" if mode == "autocommit" else None,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,
        connect_args={
            "timeout": SQLITE_BUSY_SECONDS,
            # One thread at a time all the same: the pool and the inbox see to it.
            "check_same_thread": False,
            "isolation_level": None,
        },
    )
    event.listen(engine, "connect", _set_pragmas)
    if mode != "autocommit":
        # A plain BEGIN that later writes fails at once when another process wrote in between.
        begin = "BEGIN IMMEDIATE" if mode == "write" else "BEGIN"
        event.listen(engine, "begin", lambda connection: _begin(connection, begin))
    return engine


def _begin(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)


def _set_pragmas(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    if not isinstance(connection, sqlite3.Connection):
        raise TypeError("the SQLite engine opened something else")
    _use_wal(connection)
    # FULL, because a 2xx says that a power cut cannot take the delivery back.
    connection.execute("PRAGMA synchronous=FULL")


def _use_wal(connection: sqlite3.Connection) -> None:
    give_up_at = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            # Of several that open a new file at once one is refused, and not made to wait.
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(WAL_PAUSE_SECONDS)
        else:
            return
