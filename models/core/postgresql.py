"""What a PostgreSQL connection of ours is set to, directly or through a pooler.

No setting of the server's, the role's or the database's that this program relies on is left to
chance. A pooler such as PgBouncer refuses them in the startup packet, and in transaction mode it
gives each transaction another server connection: there each transaction says them itself.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import psycopg
from psycopg import sql
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

Mode = Literal["write", "read", "autocommit"]
POOLED = "is_pooled"
# Only a migration holds a lock for longer; whoever waits behind it piles up.
_LOCK_SECONDS = 2
# A webhook has four seconds in all: time to try those of its batch that are not locked.
_INBOX_LOCK_SECONDS = 1
# A statement of ours takes milliseconds; one that takes this long is caught in something.
_STATEMENT_SECONDS = 10
_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    "statement_timeout": f"{_STATEMENT_SECONDS}s",
    "idle_in_transaction_session_timeout": "60s",
}
# A page is a hundred rows in an index's order: to start parallel workers, or to compile the
# query, takes several times as long as to read them.
_READING = {"max_parallel_workers_per_gather": "0", "jit": "off"}
# A 2xx says that a crash cannot take the delivery back. What waits for a standby is stronger.
_DURABLE = """set_config('synchronous_commit', CASE current_setting('synchronous_commit')
 WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, {})"""
_BEGIN = sql.SQL("BEGIN ISOLATION LEVEL READ COMMITTED; ")
_READ_ONLY = {True: "transaction_read_only", False: "default_transaction_read_only"}
# A URL's option that the server does not know, or not with this value.
_REFUSED_OPTIONS = (psycopg.errors.UndefinedObject, psycopg.errors.DataError)
# PostgreSQL's own rule for `options`: blanks separate, a backslash takes the next one as it is.
_WORD = re.compile(r"(?:\\.|[^\\\s])+", re.DOTALL)
_NAMED = re.compile(r"(?:-c|--)([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)


def split_options(url: URL) -> tuple[URL, dict[str, str]]:
    """Take the settings out of a URL's `options`, which no pooler lets through.

    What is not all settings, such as Neon's `endpoint=…`, stays as it is.
    """
    given = url.query.get("options", "")
    words = _WORD.findall(given if isinstance(given, str) else " ".join(given))
    plain = [re.sub(r"\\(.)", r"\1", word, flags=re.DOTALL) for word in words]
    # `-c name=value` is one option of two words.
    joined = re.sub(r"(^|\0)-c\0", r"\1-c", "\0".join(plain)).split("\0")
    found = [_NAMED.fullmatch(option) for option in joined if option]
    if not all(found):
        return url, {}
    own = {match[1].replace("-", "_").lower(): match[2] for match in found if match}
    return url.difference_update_query(["options"]), own


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler is in between, which may give each transaction another connection."""
    return POOLED in connection.info


@contextmanager
def under_settings(connection: Connection) -> Iterator[None]:
    """Run one statement of the driver's under the settings; through a pooler, in a transaction."""
    driver: Any = connection.connection.driver_connection
    settings = connection.info.get(POOLED)
    if settings is None:
        yield
        return
    driver.execute(_BEGIN + settings)
    try:
        yield
    except BaseException:
        if not driver.closed:
            driver.rollback()
        raise
    driver.commit()


class ConnectionSetup:
    """Sets up each connection of an engine, and each transaction where that is not enough."""

    def __init__(self, mode: Mode, own: Mapping[str, str]) -> None:
        self._mode = mode
        # Said when connecting: any other could not carry each title and message.
        self._own = {name: own[name] for name in own if name != "client_encoding"}

    def listen(self, engine: Engine) -> None:
        """Set up whatever this engine opens and begins."""
        # First of all: what SQLAlchemy asks a new connection shall find it as we do.
        event.listen(engine, "connect", self._connect, insert=True)
        if self._mode != "autocommit":
            event.listen(engine, "begin", self._begin)

    def _connect(self, driver: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        if not isinstance(driver, psycopg.Connection):
            raise TypeError("the PostgreSQL engine opened something else")
        # A setting made in a transaction that is rolled back is undone.
        driver.autocommit = True
        # A pooler tells its clients a process id of its own making.
        is_direct = sql.SQL(" WHERE pg_backend_pid() = {}").format(driver.info.backend_pid)
        try:
            found = driver.execute(self._settings(is_local=False, own=self._own) + is_direct)
        except _REFUSED_OPTIONS as error:
            # As a server says it of `options` when somebody connects: they are no bug of ours.
            raise psycopg.OperationalError(str(error)) from error
        if found.fetchone() is None:
            record.info[POOLED] = self._settings(is_local=True, own=self._path(driver) | self._own)
            # Prepared on one server connection, it would be asked for on another.
            driver.prepare_threshold = None
        driver.autocommit = False

    @staticmethod
    def _path(driver: "psycopg.Connection[Any]") -> dict[str, str]:
        # Other clients of the pool may have left theirs behind; this is the role's own.
        asked = "SELECT reset_val FROM pg_settings WHERE name = 'search_path'"
        row = driver.execute(asked).fetchone()
        return {"search_path": row[0]} if row else {}

    def _begin(self, connection: Connection) -> None:
        settings = connection.info.get(POOLED)
        if settings is not None:
            # In the driver's own words, since a value may hold a percent sign.
            connection.exec_driver_sql(
                settings.as_string(), execution_options={"no_parameters": True}
            )

    def _settings(self, *, is_local: bool, own: Mapping[str, str]) -> sql.Composed:
        """Return the statement that makes them; ours are last, since answers in time rest on them.

        One statement, so that it costs one round trip.
        """
        is_inbox = self._mode == "autocommit"
        ours = _SETTINGS | {
            "lock_timeout": f"{_INBOX_LOCK_SECONDS if is_inbox else _LOCK_SECONDS}s"
        }
        ours |= {} if is_local else {"default_transaction_isolation": "read committed"}
        if self._mode == "read":
            ours |= _READING | {_READ_ONLY[is_local]: "on"}
        one = sql.SQL("set_config({}, {}, {})")
        all_of_them = [one.format(name, value, is_local) for name, value in {**own, **ours}.items()]
        durable = sql.SQL(_DURABLE).format(is_local)
        return sql.SQL("SELECT ") + sql.SQL(", ").join([*all_of_them, durable])
