"""SQLAlchemy engines for PostgreSQL and SQLite, with timeouts and durable commits."""

import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from models.core.postgresql import ConnectionSetup, Mode, split_options
from models.settings.environment import Settings

SQLITE_BUSY_SECONDS = 4.0
WAL_PAUSE_SECONDS = 0.02
_CONNECT_SECONDS = 2


class NoDatabaseFileError(sqlite3.OperationalError):
    """The SQLite file does not exist, and this engine must not create it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"there is no database file {path.absolute()}")
        self.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN


def make_engine(
    settings: Settings, mode: Mode, *, pool_size: int = 1, creates: bool = True
) -> Engine:
    """Return an engine with at most `pool_size` connections; it connects on first use.

    Without `creates`, connecting to a missing SQLite file raises NoDatabaseFileError.
    """
    if settings.on_sqlite:
        engine = _sqlite(settings, mode, pool_size)
        if not creates:
            event.listen(engine, "do_connect", _refuse_a_new_file)
        return engine
    return _postgresql(settings, mode, pool_size)


def _postgresql(settings: Settings, mode: Mode, pool_size: int) -> Engine:
    url, own = split_options(settings.database_url)
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT" if mode == "autocommit" else "READ COMMITTED",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_CONNECT_SECONDS,
        # The receiver detects a dead connection itself and saves the ping.
        pool_pre_ping=mode != "autocommit",
        # Parameters contain personal data, which must not reach a log through an error.
        hide_parameters=True,
        # No column uses hstore, and looking it up costs each new process a round trip.
        use_native_hstore=False,
        # `options` is left out because poolers reject it.
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            "client_encoding": "UTF8",
            "application_name": f"recall-links {mode}",
            "keepalives_idle": 20,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        },
    )
    ConnectionSetup(mode, own).listen(engine)
    return engine


def _sqlite(settings: Settings, mode: Mode, pool_size: int) -> Engine:
    engine = create_engine(
        settings.database_url,
        isolation_level="AUTOCOMMIT" if mode == "autocommit" else None,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,
        connect_args={
            "timeout": SQLITE_BUSY_SECONDS,
            # The pool and the receiver already use a connection from one thread at a time.
            "check_same_thread": False,
            "isolation_level": None,
        },
    )
    event.listen(engine, "connect", _set_pragmas)
    if mode != "autocommit":
        # After a plain BEGIN, the first write fails if another process wrote in between.
        begin = "BEGIN IMMEDIATE" if mode == "write" else "BEGIN"
        event.listen(engine, "begin", lambda connection: _begin(connection, begin))
    return engine


def _refuse_a_new_file(_: object, __: object, arguments: list[str], ___: object) -> None:
    path = Path(arguments[0])
    if not arguments[0].startswith((":memory:", "file:")) and not path.exists():
        raise NoDatabaseFileError(path)


def _begin(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)


def _set_pragmas(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    if not isinstance(connection, sqlite3.Connection):
        raise TypeError("the SQLite engine opened another kind of connection")
    _use_wal(connection)
    # A 2xx promises that the delivery survives a power failure.
    connection.execute("PRAGMA synchronous=FULL")


def _use_wal(connection: sqlite3.Connection) -> None:
    give_up_at = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            # SQLite ignores the busy timeout when several processes switch a new file to WAL.
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(WAL_PAUSE_SECONDS)
        else:
            return
