"""Ends what no timeout of PostgreSQL's ends: a statement on a connection whose server froze."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

TICK_SECONDS = 0.25


class SocketTimeout:
    """One thread that shuts the sockets of statements that outlive their time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._late_at: dict[int, float] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watching(self, descriptor: int, until: float) -> Iterator[None]:
        """Shut this socket at the monotonic time `until`, if the block is not over by then."""
        # The lock also keeps the watchdog from a descriptor that is being reused.
        with self._lock:
            self._late_at[descriptor] = until
            self._start()
        try:
            yield
        finally:
            with self._lock:
                self._late_at.pop(descriptor, None)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()

    def _start(self) -> None:
        if self._thread is None:
            # Only with the first statement, so that making an application starts nothing.
            self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(TICK_SECONDS):
            now = time.monotonic()
            with self._lock:
                for descriptor in [d for d, until in self._late_at.items() if now >= until]:
                    del self._late_at[descriptor]
                    _shut(descriptor)


def _shut(descriptor: int) -> None:
    # A duplicate, since the driver owns the descriptor and closes it by itself.
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
