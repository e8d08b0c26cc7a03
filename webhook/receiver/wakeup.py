"""Wakes workers in the background: at once, then at most ten times a second."""

import threading
import time

from workers.queue.redis_news import RedisNews
from workers.queue.wakeup import WakeUp

PAUSE_SECONDS = 0.1


class WakeupNotifier:
    """One thread, started by the first wake-up; a request only sets its flag."""

    def __init__(self, wakeup: WakeUp) -> None:
        self._wakeup = wakeup
        self._news = RedisNews("Redis wakes no worker: links wait for the next poll")
        self._flag = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def wake(self) -> None:
        """Have workers woken soon; never waits for Redis."""
        self._flag.set()
        if self._thread is None:
            self._start()

    def close(self) -> None:
        """Stop the thread after the wake-up it is sending."""
        self._is_closed = True
        self._flag.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                # A daemon thread: a Redis that hangs must not keep a stopping process alive.
                self._thread = threading.Thread(target=self._run, name="wakeup", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._flag.wait()
            self._flag.clear()
            if self._is_closed:
                return
            # One wake-up after the pause covers every delivery that arrives during it.
            self._wakeup.send()
            self._news.note(self._wakeup.failure)
            time.sleep(PAUSE_SECONDS)
