"""Writes rejected requests and event counts in the background.

Its own thread writes at most a few rows a second, so that a flood of junk can neither fill the
database nor slow down Recall's webhooks.
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
LOG_SECONDS = 10.0
REJECTION = "rejection"

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RejectedRequest:
    """A request that failed verification, as it arrived."""

    reason: str
    remote_addr: str | None
    message_id: str | None
    headers: dict[str, str]
    body: bytes | None


class RejectionWriter:
    """Queues rejections and counts, and writes them soon; the first one starts its thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: queue.Queue[RejectedRequest] = queue.Queue(MOST_WAITING)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._rejections: Counter[str] = Counter()
        self._log_at = 0.0

    def count(self, name: str, label: str) -> None:
        """Count one event; a crash loses at most five seconds of these."""
        with self._lock:
            self._counts[name, label] += 1
            self._start()

    def reject(self, rejected: RejectedRequest) -> None:
        """Keep a rejected request, unless too many arrive at once."""
        self.count(REJECTION, rejected.reason)
        # A larger body is dropped: half of it cannot be verified later, and a whole one would let
        # strangers use our memory.
        is_small = rejected.body is not None and len(rejected.body) <= LARGEST_BODY
        kept = rejected if is_small else replace(rejected, body=None)
        try:
            self._waiting.put_nowait(kept)
        except queue.Full:
            self.count("rejection_not_kept", rejected.reason)

    def close(self) -> None:
        """Write what is left and stop the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=3)

    def flush(self) -> None:
        """Write the counts and one second's worth of rejected requests."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        rejected = self._take()
        if not counts and not rejected:
            return
        self._log_rejections({label: n for (name, label), n in counts.items() if name == REJECTION})
        try:
            with self._engine.begin() as connection:
                add_hourly_counts(connection, counts)
                self._keep(connection, rejected)
        except SQLAlchemyError as error:
            # Counts are worth a second attempt; junk is not.
            with self._lock:
                self._counts.update(counts)
            logger.warning("counts not written", reason=reason(error))

    def _start(self) -> None:
        if self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._run, name="rejections", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        flush_at = time.monotonic() + FLUSH_SECONDS
        while not self._closed.wait(1.0):
            if self._waiting.qsize() or time.monotonic() >= flush_at:
                self.flush()
                flush_at = time.monotonic() + FLUSH_SECONDS
        self.flush()

    def _log_rejections(self, rejections: dict[str, int]) -> None:
        # One line in ten seconds, however many requests are rejected.
        self._rejections.update(rejections)
        if self._rejections and time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + LOG_SECONDS
            logger.warning("requests rejected", **self._rejections)
            self._rejections.clear()

    def _take(self) -> list[RejectedRequest]:
        taken: list[RejectedRequest] = []
        while len(taken) < ROWS_A_SECOND and not self._waiting.empty():
            taken.append(self._waiting.get_nowait())
        return taken

    def _keep(self, connection: Connection, rejected: list[RejectedRequest]) -> None:
        for one in rejected:
            row = {
                "reason": one.reason,
                "remote_addr": one.remote_addr,
                "message_id": one.message_id,
                "headers": one.headers,
                "body": one.body,
            }
            connection.execute(insert(Rejection).values(received_at=db_now(), **row))
        if rejected:
            # In the same transaction, so that readers never see more than the maximum.
            trim(connection)


def trim(connection: Connection) -> None:
    """Delete the oldest rejected requests beyond ten thousand."""
    newest = select(Rejection.id).order_by(Rejection.id.desc()).offset(MOST_ROWS).limit(1)
    beyond = connection.scalar(newest)
    if beyond is not None:
        connection.execute(delete(Rejection).where(Rejection.id <= beyond))
