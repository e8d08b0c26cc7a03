"""A network backend whose reads and writes end at the call's deadline.

httpx has timeouts for single reads only, which a server can evade by sending a byte now and then.
"""

import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

MAX_HEAD_BYTES = 100 * 1024


class Deadline(threading.local):
    """The monotonic time by which this thread's call must be over."""

    until = 0.0

    def start(self, seconds: float) -> None:
        """Give the call that begins now this many seconds in all."""
        self.until = time.monotonic() + seconds

    def within(self, timeout: float | None) -> float:
        """Return the smaller of `timeout` and the time left; httpcore.ReadTimeout if none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the call's deadline has passed")
        return left if timeout is None else min(left, timeout)


class DeadlineStream(httpcore.NetworkStream):
    """A connection that counts the bytes of the current answer."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline
        self._start()

    def _start(self) -> None:
        self._head, self._last = b"", b""
        self._received = self._head_size = 0
        self._is_spent = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read within the call's time."""
        data = self._stream.read(max_bytes, self._deadline.within(timeout))
        self._received += len(data)
        self._last = data
        if not self._head_size and len(self._head) < MAX_HEAD_BYTES:
            self._head += data
            self._head_size = self._head.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in self._head else 0
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write within the call's time; the first write after an answer begins the next call."""
        if self._is_spent:
            # The pool chose this connection before it was spent; now it takes another.
            raise httpcore.ConnectionNotAvailable
        if self._received:
            self._start()
        self._stream.write(buffer, self._deadline.within(timeout))

    def finish(self, lengths: Sequence[bytes]) -> None:
        """Mark the connection as spent unless it has read exactly one answer of this length.

        Surplus bytes would be read as the answer to the next call.
        """
        if len(lengths) == 1 and lengths[0].isdigit():
            self._is_spent = self._received != self._head_size + int(lengths[0])
        else:
            self._is_spent = not self._last.endswith(b"\r\n0\r\n\r\n")

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Start TLS within the call's time."""
        within = self._deadline.within(timeout)
        tls = self._stream.start_tls(ssl_context, server_hostname, within)
        return DeadlineStream(tls, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """Report a spent connection as readable, for which the pool closes idle connections."""
        if info == "is_readable" and self._is_spent:
            return True
        return self._stream.get_extra_info(info)


class DeadlineBackend(httpcore.SyncBackend):
    """Opens connections that respect the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect within the call's time."""
        within = self._deadline.within(timeout)
        stream = super().connect_tcp(host, port, within, local_address, socket_options)
        return DeadlineStream(stream, self._deadline)
