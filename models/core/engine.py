"""Engines for the two databases, each set up so that a hang ends and a commit is durable."""

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
    """SQLite's file is not there, and whoever asked is not to make it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"there is no database file {path.absolute()}")
        self.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN


def make_engine(
    settings: Settings, mode: Mode, *, pool_size: int = 1, creates: bool = True
) -> Engine:
    """Return an engine of at most `pool_size` connections; nothing is opened yet.

    Where it `creates` no file, connecting to one that is missing is a NoDatabaseFileError.
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
        # The inbox keeps its connections and notices a dead one by itself: no ping per statement.
        pool_pre_ping=mode != "autocommit",
        # Parameters hold bodies and names; an error that shows them tells a log too much.
        hide_parameters=True,
        # No column is one, and asking what it is costs each new process a round trip.
        use_native_hstore=False,
        # No `options`: a pooler refuses them.
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


def _refuse_a_new_file(_: object, __: object, arguments: list[str], ___: object) -> None:
    path = Path(arguments[0])
    if not arguments[0].startswith((":memory:", "file:")) and not path.exists():
        raise NoDatabaseFileError(path)


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
