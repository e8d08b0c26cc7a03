"""Webhooks that arrive together are served by one thread, and committed at once.

A thread for each of them would cost more in handing over than all that it does: each request runs
in a waiter instead, up to what it stores, and from there on when all of the batch is stored.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import structlog
from greenlet import getcurrent
from waitress.task import ThreadedTaskDispatcher

from webhook.receiver.batch_wait import Waiter, current_waiter
from webhook.receiver.insert import MOST_ROWS, Outcome, Row
from webhook.receiver.storage import LANES, STORE_SECONDS, Inbox

# What waits beyond this many batches is said, as waitress says that requests wait for a thread.
MANY_WAITING = 4 * MOST_ROWS

logger = structlog.stdlib.get_logger(__name__)


class Channel(Protocol):
    """A connection of waitress's with a request that is read."""

    requests: list[Any]

    def service(self) -> None:
        """Answer the first of its requests."""

    def cancel(self) -> None:
        """Give up its requests."""


class BatchDispatcher:
    """Stands before waitress's dispatcher: one path goes by batches, all others by its threads."""

    def __init__(
        self, threads: ThreadedTaskDispatcher, path: str, inbox: Inbox, pull: Callable[[], None]
    ) -> None:
        self._threads = threads
        self.queue_logger = threads.queue_logger
        self._path = path
        self._inbox = inbox
        self._pull = pull
        self._arrived: deque[tuple[float, Channel]] = deque()
        self._bell = threading.Condition()
        self._lanes: list[threading.Thread] = []
        self._idle = 0
        self._is_closed = False

    def add_task(self, channel: Channel) -> None:
        """Take a request; one for the path waits until `flush`."""
        first = channel.requests[0]
        if first.error or first.path != self._path:
            self._threads.add_task(channel)
        else:
            self._arrived.append((time.monotonic(), channel))

    def flush(self) -> None:
        """Have what has arrived since served; called by the main loop after each of its turns."""
        if not self._arrived:
            return
        with self._bell:
            wanted = -(-len(self._arrived) // MOST_ROWS)
            self._bell.notify(wanted)
            if wanted > self._idle and len(self._lanes) < LANES:
                self._start()
        if len(self._arrived) > MANY_WAITING:
            self.queue_logger.warning("Webhooks waiting: %d", len(self._arrived))

    def pull_trigger(self) -> None:
        """Wake the main loop; within a batch once, at its end."""
        if current_waiter() is None:
            self._pull()

    def shutdown(self, timeout: float) -> None:
        """End all threads; what they have not begun is given up."""
        with self._bell:
            self._is_closed = True
            self._bell.notify_all()
        ends = time.monotonic() + timeout
        for lane in self._lanes:
            lane.join(max(0.0, ends - time.monotonic()))
        while self._arrived:
            self._arrived.popleft()[1].cancel()
        self._threads.shutdown(timeout=max(0.0, ends - time.monotonic()))

    def _start(self) -> None:
        name = f"webhooks-{len(self._lanes)}"
        # A daemon: a database that hangs must not keep a stopping process alive.
        lane = threading.Thread(target=self._run, name=name, daemon=True)
        self._lanes.append(lane)
        lane.start()

    def _run(self) -> None:
        while batch := self._take():
            self._serve(batch)
            self._pull()

    def _take(self) -> list[tuple[float, Channel]]:
        with self._bell:
            while not self._arrived and not self._is_closed:
                self._idle += 1
                self._bell.wait()
                self._idle -= 1
            if self._is_closed:
                return []
            return [self._arrived.popleft() for _ in range(min(MOST_ROWS, len(self._arrived)))]

    def _serve(self, batch: list[tuple[float, Channel]]) -> None:
        until = batch[0][0] + STORE_SECONDS
        begun = ((Waiter(channel.service, getcurrent()), ()) for _, channel in batch)
        waiting = _go_on(begun)
        while waiting:
            outcomes = self._store([row for _, row in waiting], until)
            told = ((waiter, (one,)) for (waiter, _), one in zip(waiting, outcomes, strict=True))
            waiting = _go_on(told)

    def _store(self, rows: list[Row], until: float) -> list[Outcome]:
        try:
            return self._inbox.store_all(rows, until)
        except Exception as error:
            # Whoever waits must hear of it, or would wait for ever.
            logger.exception("a batch failed")
            return [error for _ in rows]


def _go_on(waiters: Iterable[tuple[Waiter, tuple[Outcome, ...]]]) -> list[tuple[Waiter, Row]]:
    """Run each up to its end, or to what it hands in; returns those that wait."""
    waiting: list[tuple[Waiter, Row]] = []
    for waiter, told in waiters:
        try:
            row = waiter.switch(*told)
        except BaseException:
            # As waitress's own threads do: the others of the batch are not to suffer for it.
            logger.exception("a request ended without an answer")
            continue
        if not waiter.dead:
            waiting.append((waiter, row))
    return waiting
