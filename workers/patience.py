"""Transactions of a drain that outlive a database's short absence."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from psycopg.errors import ProgramLimitExceeded
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    StatementError,
)

# InternalError is what psycopg makes of a server that became read-only, as a fail-over leaves it.
AWAY = (OperationalError, InterfaceError, InternalError)
ABSENCE_SECONDS = 15.0
PAUSE_SECONDS = 0.3

T = TypeVar("T")
logger = structlog.stdlib.get_logger(__name__)


def in_transaction(
    engine: Engine, work: Callable[[Connection], T], patience: float = ABSENCE_SECONDS
) -> T:
    """Run `work` in a transaction; while the database is away, again, for `patience` seconds.

    What was fetched from Recall is worth waiting for: losing it would cost its calls anew. A
    deadlock's victim comes here too. `work` may run several times, so it must not mind.
    """
    give_up_at = time.monotonic() + patience
    while True:
        try:
            with engine.begin() as connection:
                return work(connection)
        except AWAY as error:
            if is_the_rows_fault(error) or time.monotonic() >= give_up_at:
                raise
            logger.warning("database away, trying again", error=type(error.orig).__name__)
            # No event tells that a database is back; asking three times a second costs it little.
            time.sleep(PAUSE_SECONDS)


def is_the_rows_fault(error: Exception) -> bool:
    """Whether what a row holds made it fail, and not the database's health or our schema."""
    # A missing table is a ProgrammingError: no row is to blame for a release that did not run.
    if isinstance(error, DBAPIError):
        # Text that outgrows an index is no absence, though psycopg files it among those.
        is_too_large = isinstance(error.orig, ProgramLimitExceeded)
        return is_too_large or isinstance(error, DataError | IntegrityError)
    return isinstance(error, StatementError | ValueError | TypeError | LookupError)
