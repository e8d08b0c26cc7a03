"""One kept-alive connection to Recall whose every call ends by its deadline.

httpx's timeouts are per read: an answer that drips a byte each half second outlives all of them, so
the network backend hands each read no more than the time the whole call has left.
"""

import contextlib
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import certifi
import httpcore
import httpx

MAX_BODY_BYTES = 2 * 1024 * 1024
# A hundred bots with signed media links, or a year's meetings, are more than one body.
LIST_BYTES = 32 * 1024 * 1024
CONNECT_SECONDS = 5.0
USER_AGENT = "recall-links"
_HEADERS = {
    "accept": "application/json",
    # A few kilobytes may unpack to hundreds of megabytes.
    "accept-encoding": "identity",
    "user-agent": USER_AGENT,
}
# A read's and a write's time is the call's deadline, which the network backend keeps.
_TIMEOUTS = {"timeout": {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": None}}


class BodyTooLargeError(Exception):
    """An answer is over the limit (2 MiB for one thing); the rest of it was not read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: status, headers, and the body's bytes as they were sent."""

    status: int
    headers: httpx.Headers
    body: bytes


class Deadline:
    """The moment at which the call under way must be over, by the monotonic clock."""

    def __init__(self) -> None:
        self._until = 0.0

    def start(self, seconds: float) -> None:
        """Allow the call that begins now this many seconds in all."""
        self._until = time.monotonic() + seconds

    def within(self, timeout: float | None) -> float:
        """Return the smaller of `timeout` and the time left; httpcore.ReadTimeout when none is."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the call's deadline has passed")
        return left if timeout is None else min(left, timeout)


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.within(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        within = self._deadline.within(timeout)
        tls = self._stream.start_tls(ssl_context, server_hostname, within)
        return _DeadlineStream(tls, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _DeadlineBackend(httpcore.SyncBackend):
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
        within = self._deadline.within(timeout)
        stream = super().connect_tcp(host, port, within, local_address, socket_options)
        return _DeadlineStream(stream, self._deadline)


class _DeadlineTransport(httpx.HTTPTransport):
    """httpx's transport over a pool of one connection that obeys the deadline."""

    def __init__(self, context: ssl.SSLContext, deadline: Deadline) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            # One thread, one connection: a shared client collapses above sixteen calls at once.
            max_connections=1,
            max_keepalive_connections=1,
            keepalive_expiry=60.0,
            network_backend=_DeadlineBackend(deadline),
        )


class Wire:
    """A connection of one thread; not to be shared."""

    def __init__(self, context: ssl.SSLContext, most_bytes: int = MAX_BODY_BYTES) -> None:
        self._deadline = Deadline()
        self._most_bytes = most_bytes
        # Without httpx's client: proxies, .netrc, redirects and cookies are all that it adds. The
        # first two would show the key, a redirect would take a calendar token to another host, a
        # cookie one user's state into the next one's call; and all of them cost a third of a call.
        self._transport = _DeadlineTransport(context, self._deadline)

    def call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        json: object = None,
        *,
        seconds: float,
    ) -> Answer:
        """Make one call of at most `seconds`; httpx.TransportError or BodyTooLargeError."""
        self._deadline.start(seconds)
        request = httpx.Request(
            method, url, headers={**_HEADERS, **headers}, json=json, extensions=_TIMEOUTS
        )
        response = self._transport.handle_request(request)
        with contextlib.closing(response):
            return Answer(response.status_code, response.headers, _read(response, self._most_bytes))

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


def make_ssl_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Load the trusted roots once: 35 ms that a client would otherwise spend each."""
    return ssl.create_default_context(cafile=ca_file or certifi.where())


def _read(response: httpx.Response, most_bytes: int) -> bytes:
    body = bytearray()
    # As it came: a compressed body was not asked for, and is not unpacked.
    for chunk in cast("httpx.SyncByteStream", response.stream):
        body += chunk
        if len(body) > most_bytes:
            raise BodyTooLargeError
    return bytes(body)
