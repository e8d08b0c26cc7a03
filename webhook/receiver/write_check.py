"""Whether the database can be written: known from the last webhook, else from a test write."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from uuid import uuid4

import psycopg
from sqlalchemy import Engine, delete, insert
from sqlalchemy.exc import SQLAlchemyError, StatementError

from models.core.database_remedies import public_reason
from models.tables.base import db_now
from models.tables.delivery import Delivery

# Just under a minute: a load balancer should learn of it within one.
TRY_SECONDS = 50.0
# Errors that do not pass by themselves and still allow reads: disk full, read-only server,
# missing privilege.
_STATES = frozenset({"53100", "25006", "42501"})
_SQLITE_CODES = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR})
# More than the free space of one page in either database; random, because zeros compress away.
_BODY_BYTES = 8000


class LastWrite:
    """When the last write was attempted, and why it failed if the cause persists."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.reason: str | None = None
        self._clock = clock
        self._at = -TRY_SECONDS

    def is_old(self) -> bool:
        """Whether a test write is due; returns True only once per period."""
        now = self._clock()
        if now - self._at < TRY_SECONDS:
            return False
        self._at = now
        return True

    def succeeded(self) -> None:
        """Note a commit."""
        self._at = self._clock()
        self.reason = None

    def failed(self, error: BaseException) -> None:
        """Note an error if the next write would fail the same way."""
        if _lasts(error):
            self._at = self._clock()
            self.reason = public_reason(error)


class WriteCheck:
    """Answers /readyz without ever waiting for the database."""

    def __init__(self, engine: Engine, last: LastWrite) -> None:
        self._engine = engine
        self._last = last
        self._trying: threading.Thread | None = None

    def reason(self) -> str | None:
        """Return why nothing can be written, as far as known; None if writes work."""
        if self._last.is_old():
            self._trying = threading.Thread(target=self._try, name="write-check", daemon=True)
            self._trying.start()
        return self._last.reason

    def close(self) -> None:
        """Wait briefly for a running test write, but not for a database that hangs."""
        if self._trying is not None:
            self._trying.join(1)

    def _try(self) -> None:
        # In the deliveries table, because space, privileges and triggers may differ elsewhere. The
        # row is deleted in the same transaction.
        row = {
            "id": f"write-check-{uuid4().hex}",
            "outcome": "ignored",
            "body": os.urandom(_BODY_BYTES),
            "received_at": db_now(),
            "last_received_at": db_now(),
            "scheme": "none",
            "secret_fingerprint": "",
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(Delivery).values(row))
                connection.execute(delete(Delivery).where(Delivery.id == row["id"]))
        except SQLAlchemyError as error:
            self._last.failed(error)
        else:
            self._last.succeeded()


def _lasts(error: BaseException) -> bool:
    cause = error.orig if isinstance(error, StatementError) else error
    if isinstance(cause, psycopg.Error):
        return cause.sqlstate in _STATES
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE_CODES
