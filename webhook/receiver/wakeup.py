"""Rings the workers' bell off the request path: at once, then ten times a second at most."""

import threading
import time

from workers.queue.redis_news import RedisNews
from workers.queue.wakeup import Bell

PAUSE_SECONDS = 0.1


class WakeupNotifier:
    """One thread, started by the first ring; a request only raises its flag."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._news = RedisNews("Redis wakes no worker: links wait for the next poll")
        self._flag = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def wake(self) -> None:
        """Have the bell rung soon; never waits for Redis."""
        self._flag.set()
        if self._thread is None:
            self._start()

    def close(self) -> None:
        """End the thread after the ring it is in."""
        self._is_closed = True
        self._flag.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                # A daemon: a Redis that hangs must not keep a stopping process alive.
                self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._flag.wait()
            self._flag.clear()
            if self._is_closed:
                return
            # Deliveries that come during the pause are covered by one ring after it.
            self._bell.ring()
            self._news.note(self._bell.failure)
            time.sleep(PAUSE_SECONDS)
