"""Ends statements whose server froze, which no PostgreSQL timeout does."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

TICK_SECONDS = 0.25


class SocketTimeout:
    """One thread that shuts down the sockets of statements that run too long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deadlines: dict[int, float] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watching(self, descriptor: int, until: float) -> Iterator[None]:
        """Shut this socket down at the monotonic time `until`, unless the block ends first."""
        # The lock also keeps the thread from shutting a descriptor that has been reused.
        with self._lock:
            self._deadlines[descriptor] = until
            self._start()
        try:
            yield
        finally:
            with self._lock:
                self._deadlines.pop(descriptor, None)

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()

    def _start(self) -> None:
        if self._thread is None:
            # Started by the first statement, so that creating an application starts no thread.
            self._thread = threading.Thread(target=self._run, name="socket-timeout", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(TICK_SECONDS):
            now = time.monotonic()
            with self._lock:
                for descriptor in [d for d, until in self._deadlines.items() if now >= until]:
                    del self._deadlines[descriptor]
                    _shut(descriptor)


def _shut(descriptor: int) -> None:
    # On a duplicate: the driver owns the descriptor and closes it itself.
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
