"""Session settings of PostgreSQL connections, direct or through a pooler.

Every setting that this program relies on is set explicitly. A pooler such as PgBouncer rejects
settings in the startup packet, and in transaction mode each transaction may get another server
connection. Behind a pooler, each transaction therefore sets them itself.
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
# Only a migration holds a lock for longer, and waiting connections would pile up.
_LOCK_SECONDS = 2
# A webhook must be stored within four seconds, including a retry of unlocked rows.
_INBOX_LOCK_SECONDS = 1
# Our statements take milliseconds, so one that takes this long is stuck.
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
# A page reads a hundred rows in index order; starting parallel workers or compiling the query
# takes several times as long.
_READING = {"max_parallel_workers_per_gather": "0", "jit": "off"}
# A 2xx promises that the delivery survives a crash. Stronger values than `on` are kept.
_DURABLE = """set_config('synchronous_commit', CASE current_setting('synchronous_commit')
 WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, {})"""
_BEGIN = sql.SQL("BEGIN ISOLATION LEVEL READ COMMITTED; ")
_READ_ONLY = {True: "transaction_read_only", False: "default_transaction_read_only"}
# The server does not know an option in the URL, or rejects its value.
_REFUSED_OPTIONS = (psycopg.errors.UndefinedObject, psycopg.errors.DataError)
# PostgreSQL's syntax of `options`: spaces separate, a backslash escapes the next character.
_WORD = re.compile(r"(?:\\.|[^\\\s])+", re.DOTALL)
_NAMED = re.compile(r"(?:-c|--)([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)


def split_options(url: URL) -> tuple[URL, dict[str, str]]:
    """Move the settings in a URL's `options` into a dict, because poolers reject `options`.

    Options that are not only settings, such as Neon's `endpoint=…`, stay in the URL.
    """
    given = url.query.get("options", "")
    words = _WORD.findall(given if isinstance(given, str) else " ".join(given))
    plain = [re.sub(r"\\(.)", r"\1", word, flags=re.DOTALL) for word in words]
    # `-c name=value` is one option in two words.
    joined = re.sub(r"(^|\0)-c\0", r"\1-c", "\0".join(plain)).split("\0")
    found = [_NAMED.fullmatch(option) for option in joined if option]
    if not all(found):
        return url, {}
    own = {match[1].replace("-", "_").lower(): match[2] for match in found if match}
    return url.difference_update_query(["options"]), own


def is_pooled(connection: Connection) -> bool:
    """Whether the connection goes through a pooler."""
    return POOLED in connection.info


@contextmanager
def under_settings(connection: Connection) -> Iterator[None]:
    """Run one driver statement with our settings; behind a pooler, in a transaction."""
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
    """Applies the settings to each connection; behind a pooler, to each transaction."""

    def __init__(self, mode: Mode, own: Mapping[str, str]) -> None:
        self._mode = mode
        # client_encoding is set to UTF8 when connecting.
        self._own = {name: own[name] for name in own if name != "client_encoding"}

    def listen(self, engine: Engine) -> None:
        """Apply the settings to the connections and transactions of this engine."""
        # Before SQLAlchemy's own first queries on the connection.
        event.listen(engine, "connect", self._connect, insert=True)
        if self._mode != "autocommit":
            event.listen(engine, "begin", self._begin)

    def _connect(self, driver: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        if not isinstance(driver, psycopg.Connection):
            raise TypeError("the PostgreSQL engine opened another kind of connection")
        # A rollback would undo settings made in a transaction.
        driver.autocommit = True
        # A pooler gives its clients another process id than the server's.
        is_direct = sql.SQL(" WHERE pg_backend_pid() = {}").format(driver.info.backend_pid)
        try:
            found = driver.execute(self._settings(is_local=False, own=self._own) + is_direct)
        except _REFUSED_OPTIONS as error:
            # Bad options in the URL are an error of connecting, not a bug of ours.
            raise psycopg.OperationalError(str(error)) from error
        if found.fetchone() is None:
            record.info[POOLED] = self._settings(is_local=True, own=self._path(driver) | self._own)
            # A prepared statement would not exist on another server connection.
            driver.prepare_threshold = None
        driver.autocommit = False

    @staticmethod
    def _path(driver: "psycopg.Connection[Any]") -> dict[str, str]:
        # Another client may have changed search_path, so use the role's default.
        asked = "SELECT reset_val FROM pg_settings WHERE name = 'search_path'"
        row = driver.execute(asked).fetchone()
        return {"search_path": row[0]} if row else {}

    def _begin(self, connection: Connection) -> None:
        settings = connection.info.get(POOLED)
        if settings is not None:
            # Without parameters, because a value may contain a percent sign.
            connection.exec_driver_sql(
                settings.as_string(), execution_options={"no_parameters": True}
            )

    def _settings(self, *, is_local: bool, own: Mapping[str, str]) -> sql.Composed:
        """Return one statement that applies all settings; ours override those in the URL.

        One statement costs one round trip.
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
