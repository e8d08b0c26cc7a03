"""Transactions of a drain that outlive a database's short absence."""

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
    """What begins transactions: an engine, or a writer."""

    def begin(self) -> AbstractContextManager[Connection]:
        """Begin one that ends with the block."""


class Writer:
    """One connection, kept from transaction to transaction, and made anew after a failure.

    A drain writes dozens of times a second: a pool would ask each time whether it is still there.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Begin a transaction, on the connection that is there or a new one."""
        with self._lent() as connection, connection.begin():
            yield connection

    @property
    def singly(self) -> "Singly":
        """The same connection for statements that each stand alone, without BEGIN and COMMIT."""
        return Singly(self._lent)

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            yield self._connection
        except SQLAlchemyError as error:
            if is_unavailable(error):
                # Also where the connection lives: after a fail-over it leads to a server that
                # only reads.
                self._connection.invalidate()
                self.close()
            raise

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Singly:
    """A connection whose every statement is committed by itself: two round trips less."""

    def __init__(self, lent: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._lent = lent

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Lend the connection; on SQLite, which is asked in no round trips, in a transaction.

        Through a pooler as well, where each transaction makes its own settings.
        """
        with self._lent() as connection:
            if connection.dialect.name != "postgresql" or is_pooled(connection):
                with connection.begin():
                    yield connection
                return
            # The driver's own switch: SQLAlchemy's costs as much as it would save.
            driver: Any = connection.connection.driver_connection
            driver.autocommit = True
            try:
                with connection.begin():
                    yield connection
            finally:
                # One that broke is thrown away, and cannot be switched any more.
                if not driver.closed:
                    driver.autocommit = False


def in_transaction(
    database: Database, work: Callable[[Connection], T], patience: float = ABSENCE_SECONDS
) -> T:
    """Run `work` in a transaction; while the database is away, again, for `patience` seconds.

    What was fetched from Recall is worth waiting for: losing it would cost its calls anew. A
    deadlock's victim comes here too. `work` may run several times, so it must not mind.
    """
    give_up_at = time.monotonic() + patience
    while True:
        try:
            with database.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            if not is_unavailable(error) or time.monotonic() >= give_up_at:
                raise
            logger.warning("database away, trying again", reason=reason(error))
            # No event tells that a database is back; asking three times a second costs it little.
            time.sleep(PAUSE_SECONDS)
