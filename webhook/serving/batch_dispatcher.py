"""Serves webhooks that arrive together in one thread and commits them together.

Handing each to its own thread would cost more than serving it. Instead, each request runs in a
greenlet up to its row, and resumes when the whole batch is committed.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import structlog
from greenlet import getcurrent
from waitress.task import ThreadedTaskDispatcher

from webhook.receiver.batch_wait import BatchGreenlet, current_batch_greenlet
from webhook.receiver.insert import MOST_ROWS, Outcome, Row
from webhook.receiver.storage import CONNECTIONS, STORE_SECONDS, Inbox

# More waiting than this is logged, as waitress logs requests that wait for a thread.
MANY_WAITING = 4 * MOST_ROWS

logger = structlog.stdlib.get_logger(__name__)


class Channel(Protocol):
    """A waitress connection with a complete request."""

    requests: list[Any]

    def service(self) -> None:
        """Answer the first of its requests."""

    def cancel(self) -> None:
        """Drop its requests."""


class BatchDispatcher:
    """Wraps waitress's dispatcher: one path is served in batches, all others by its threads."""

    def __init__(
        self, threads: ThreadedTaskDispatcher, path: str, inbox: Inbox, pull: Callable[[], None]
    ) -> None:
        self._threads = threads
        self.queue_logger = threads.queue_logger
        self._path = path
        self._inbox = inbox
        self._pull = pull
        self._arrived: deque[tuple[float, Channel]] = deque()
        self._work_arrived = threading.Condition()
        self._batch_threads: list[threading.Thread] = []
        self._idle = 0
        self._is_closed = False

    def add_task(self, channel: Channel) -> None:
        """Accept a request; one for the batched path waits until `flush`."""
        first = channel.requests[0]
        if first.error or first.path != self._path:
            self._threads.add_task(channel)
        else:
            self._arrived.append((time.monotonic(), channel))

    def flush(self) -> None:
        """Start serving what has arrived; the main loop calls this after each turn."""
        if not self._arrived:
            return
        with self._work_arrived:
            wanted = -(-len(self._arrived) // MOST_ROWS)
            self._work_arrived.notify(wanted)
            if wanted > self._idle and len(self._batch_threads) < CONNECTIONS:
                self._start()
        if len(self._arrived) > MANY_WAITING:
            self.queue_logger.warning("Webhooks waiting: %d", len(self._arrived))

    def pull_trigger(self) -> None:
        """Wake the main loop; a batch does so only once, at its end."""
        if current_batch_greenlet() is None:
            self._pull()

    def shutdown(self, timeout: float) -> None:
        """Stop all threads; requests that have not started are dropped."""
        with self._work_arrived:
            self._is_closed = True
            self._work_arrived.notify_all()
        ends = time.monotonic() + timeout
        for thread in self._batch_threads:
            thread.join(max(0.0, ends - time.monotonic()))
        while self._arrived:
            self._arrived.popleft()[1].cancel()
        self._threads.shutdown(timeout=max(0.0, ends - time.monotonic()))

    def _start(self) -> None:
        name = f"webhooks-{len(self._batch_threads)}"
        # A daemon thread: a database that hangs must not keep a stopping process alive.
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._batch_threads.append(thread)
        thread.start()

    def _run(self) -> None:
        while batch := self._take():
            self._serve(batch)
            self._pull()

    def _take(self) -> list[tuple[float, Channel]]:
        with self._work_arrived:
            while not self._arrived and not self._is_closed:
                self._idle += 1
                self._work_arrived.wait()
                self._idle -= 1
            if self._is_closed:
                return []
            return [self._arrived.popleft() for _ in range(min(MOST_ROWS, len(self._arrived)))]

    def _serve(self, batch: list[tuple[float, Channel]]) -> None:
        until = batch[0][0] + STORE_SECONDS
        started = ((BatchGreenlet(channel.service, getcurrent()), ()) for _, channel in batch)
        waiting = _resume(started)
        while waiting:
            outcomes = self._store([row for _, row in waiting], until)
            resumed = (
                (request, (one,)) for (request, _), one in zip(waiting, outcomes, strict=True)
            )
            waiting = _resume(resumed)

    def _store(self, rows: list[Row], until: float) -> list[Outcome]:
        try:
            return self._inbox.store_all(rows, until)
        except Exception as error:
            # Each waiting request gets the error; otherwise it would wait for ever.
            logger.exception("a batch failed")
            return [error for _ in rows]


def _resume(
    requests: Iterable[tuple[BatchGreenlet, tuple[Outcome, ...]]],
) -> list[tuple[BatchGreenlet, Row]]:
    """Run each request until it ends or has a row to store; returns the latter."""
    waiting: list[tuple[BatchGreenlet, Row]] = []
    for request, outcome in requests:
        try:
            row = request.switch(*outcome)
        except BaseException:
            # Logged, as waitress's threads do, so that the rest of the batch goes on.
            logger.exception("a request ended without an answer")
            continue
        if not request.dead:
            waiting.append((request, row))
    return waiting
