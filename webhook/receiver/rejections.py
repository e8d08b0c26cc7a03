"""Writes, off the request path, what strangers and repeats cause: the ledger and the counts.

A thread of its own, a few rows a second at most: whoever floods us with junk must not fill the
database, or slow down what is Recall's.
"""

import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Connection, Engine, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import reason
from models.tables.base import db_now
from models.tables.rejection import Rejection
from workers.db.counters import add_hourly_counts

ROWS_A_SECOND = 5
MOST_WAITING = 100
MOST_ROWS = 10_000
LARGEST_BODY = 64 * 1024
FLUSH_SECONDS = 5.0
SAY_SECONDS = 10.0
REJECTION = "rejection"

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was not proved to be Recall's, as it came."""

    reason: str
    remote_addr: str | None
    message_id: str | None
    headers: dict[str, str]
    body: bytes | None


class RejectionWriter:
    """Notes things at once and writes them soon; its thread starts with the first of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: queue.Queue[Refused] = queue.Queue(MOST_WAITING)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._refusals: Counter[str] = Counter()
        self._say_at = 0.0

    def count(self, name: str, label: str) -> None:
        """Count one event; a crash loses at most five seconds of these."""
        with self._lock:
            self._counts[name, label] += 1
            self._start()

    def refuse(self, refused: Refused) -> None:
        """Keep a refused request, unless too many came at once."""
        self.count(REJECTION, refused.reason)
        # A larger one cannot be checked again: half a body proves nothing, and a whole one that
        # waits here is memory a stranger takes.
        is_small = refused.body is not None and len(refused.body) <= LARGEST_BODY
        kept = refused if is_small else replace(refused, body=None)
        try:
            self._waiting.put_nowait(kept)
        except queue.Full:
            self.count("rejection_not_kept", refused.reason)

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=3)

    def flush(self) -> None:
        """Write the counts, and a second's worth of refused requests."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        refused = self._take()
        if not counts and not refused:
            return
        self._say_refusals({label: n for (name, label), n in counts.items() if name == REJECTION})
        try:
            with self._engine.begin() as connection:
                add_hourly_counts(connection, counts)
                self._keep(connection, refused)
        except SQLAlchemyError as error:
            # Counts are worth a second try, junk is not.
            with self._lock:
                self._counts.update(counts)
            logger.warning("counts not written", reason=reason(error))

    def _start(self) -> None:
        if self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._run, name="scribe", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        flush_at = time.monotonic() + FLUSH_SECONDS
        while not self._closed.wait(1.0):
            if self._waiting.qsize() or time.monotonic() >= flush_at:
                self.flush()
                flush_at = time.monotonic() + FLUSH_SECONDS
        self.flush()

    def _say_refusals(self, refusals: dict[str, int]) -> None:
        # One line in ten seconds, however many strangers knock.
        self._refusals.update(refusals)
        if self._refusals and time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + SAY_SECONDS
            logger.warning("requests refused", **self._refusals)
            self._refusals.clear()

    def _take(self) -> list[Refused]:
        taken: list[Refused] = []
        while len(taken) < ROWS_A_SECOND and not self._waiting.empty():
            taken.append(self._waiting.get_nowait())
        return taken

    def _keep(self, connection: Connection, refused: list[Refused]) -> None:
        for one in refused:
            row = {
                "reason": one.reason,
                "remote_addr": one.remote_addr,
                "message_id": one.message_id,
                "headers": one.headers,
                "body": one.body,
            }
            connection.execute(insert(Rejection).values(received_at=db_now(), **row))
        if refused:
            # In the same transaction, so that nobody ever reads more than the most.
            trim(connection)


def trim(connection: Connection) -> None:
    """Delete the oldest refused requests beyond ten thousand."""
    newest = select(Rejection.id).order_by(Rejection.id.desc()).offset(MOST_ROWS).limit(1)
    beyond = connection.scalar(newest)
    if beyond is not None:
        connection.execute(delete(Rejection).where(Rejection.id <= beyond))
