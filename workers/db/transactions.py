"""Transactions that are retried while the database is briefly unavailable."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import is_unavailable, reason
from models.core.postgresql import is_pooled

ABSENCE_SECONDS = 15.0
PAUSE_SECONDS = 0.3

T = TypeVar("T")
logger = structlog.stdlib.get_logger(__name__)


class Database(Protocol):
    """What begins transactions: an engine or a writer."""

    def begin(self) -> AbstractContextManager[Connection]:
        """Begin a transaction that ends with the block."""


class Writer:
    """One connection, kept from transaction to transaction, and replaced after a failure.

    A drain writes dozens of times a second, and a pool would test the connection each time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Begin a transaction on the kept connection, or on a new one."""
        with self._lent() as connection, connection.begin():
            yield connection

    @property
    def singly(self) -> "Singly":
        """The same connection in autocommit mode."""
        return Singly(self._lent)

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            yield self._connection
        except SQLAlchemyError as error:
            if is_unavailable(error):
                # Even if the connection is alive: after a failover it may lead to a replica.
                self._connection.invalidate()
                self.close()
            raise

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Singly:
    """A connection in autocommit mode, which saves the round trips of BEGIN and COMMIT."""

    def __init__(self, lent: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._lent = lent

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Lend the connection; in a transaction on SQLite, which has no round trips.

        Through a pooler too, where each transaction makes its own settings.
        """
        with self._lent() as connection:
            if connection.dialect.name != "postgresql" or is_pooled(connection):
                with connection.begin():
                    yield connection
                return
            # The driver's own switch: SQLAlchemy's costs as much as it saves.
            driver: Any = connection.connection.driver_connection
            driver.autocommit = True
            try:
                with connection.begin():
                    yield connection
            finally:
                # A broken connection cannot be switched, and is discarded.
                if not driver.closed:
                    driver.autocommit = False


def in_transaction(
    database: Database, work: Callable[[Connection], T], patience: float = ABSENCE_SECONDS
) -> T:
    """Run `work` in a transaction; while the database is away, retry for `patience` seconds.

    Losing what was fetched from Recall would cost its calls again. A deadlock is retried too.
    `work` may run several times, so it must be idempotent.
    """
    give_up_at = time.monotonic() + patience
    while True:
        try:
            with database.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            if not is_unavailable(error) or time.monotonic() >= give_up_at:
                raise
            logger.warning("database away, retrying", reason=reason(error))
            # Nothing signals that a database is back; three attempts a second cost it little.
            time.sleep(PAUSE_SECONDS)
