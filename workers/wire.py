"""One kept-alive connection to Recall whose every call ends by its deadline.

httpx's timeouts are per read: an answer that drips a byte each half second outlives all of them, so
the network backend hands each read no more than the time the whole call has left.
"""

import contextlib
import re
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from json import dumps
from typing import Any, cast

import certifi
import httpcore
import httpx

from models.settings import SettingsError

MAX_BODY_BYTES = 2 * 1024 * 1024
# A hundred bots with signed media links, or a year's meetings, are more than one body.
LIST_BYTES = 32 * 1024 * 1024
CONNECT_SECONDS = 5.0
KEPT_SECONDS = 60.0
USER_AGENT = "recall-links"
_HEADERS = (
    (b"accept", b"application/json"),
    # A few kilobytes may unpack to hundreds of megabytes.
    (b"accept-encoding", b"identity"),
    (b"user-agent", USER_AGENT.encode("ascii")),
)
_PLAIN_URL = re.compile(
    r"(https?://[a-z0-9.-]+(?::[0-9]{1,5})?)(/(?:[A-Za-z0-9/._~?=&:,+@!$*;()-]|%[0-9A-F]{2})*)"
)
# A read's and a write's time is the call's deadline, which the network backend keeps.
_TIMEOUTS = {"timeout": {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": None}}

_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)


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


class Wire:
    """A connection of one thread; not to be shared."""

    def __init__(self, context: ssl.SSLContext, most_bytes: int = MAX_BODY_BYTES) -> None:
        self._context = context
        self._deadline = Deadline()
        self._most_bytes = most_bytes
        # Without httpx's client and pool. Proxies, .netrc, redirects and cookies are all that the
        # client adds: the first two would show the key, a redirect would take a calendar token to
        # another host, a cookie one user's state into the next one's call. A pool is for many
        # threads or hosts. Each of the two costs a third of a call.
        self._connection: httpcore.HTTPConnection | None = None
        self._origin: httpcore.Origin | None = None

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
        try:
            return self._exchange(_request(method, url, headers, json))
        except _ERRORS as error:
            raise _as_httpx(error) from None
        except UnicodeError:
            raise httpx.LocalProtocolError("what no request can carry") from None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, request: httpcore.Request) -> Answer:
        connection = self._connected_to(request.url.origin)
        with contextlib.closing(connection.handle_request(request)) as response:
            body = _read(response, self._most_bytes)
        if _has_more(connection):
            self.close()
        return Answer(response.status, httpx.Headers(response.headers), body)

    def _connected_to(self, origin: httpcore.Origin) -> httpcore.HTTPConnection:
        is_same = origin == self._origin
        if self._connection is not None and not (is_same and _is_open(self._connection)):
            self.close()
        if self._connection is None:
            self._origin = origin
            self._connection = httpcore.HTTPConnection(
                origin,
                ssl_context=self._context,
                keepalive_expiry=KEPT_SECONDS,
                network_backend=_DeadlineBackend(self._deadline),
            )
        return self._connection


def _request(method: str, url: str, headers: Mapping[str, str], json: object) -> httpcore.Request:
    place, target = _parse(url)
    content = b"" if json is None else _as_json(json)
    sent = [(b"host", place.netloc), *_HEADERS]
    sent += [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    if json is not None:
        sent.append((b"content-type", b"application/json"))
    if method != "GET":
        sent.append((b"content-length", b"%d" % len(content)))
    where = httpcore.URL(
        scheme=place.raw_scheme, host=place.raw_host, port=place.port, target=target
    )
    return httpcore.Request(method, where, headers=sent, content=content, extensions=_TIMEOUTS)


def _as_json(value: object) -> bytes:
    return dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _parse(url: str) -> tuple[httpx.URL, bytes]:
    # Nearly all have nothing to escape and one origin; to parse each takes a fifth of a call.
    if (plain := _PLAIN_URL.fullmatch(url)) and "/." not in plain[2]:
        return _parsed(plain[1]), plain[2].encode("ascii")
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise httpx.UnsupportedProtocol("neither http:// nor https://")
    return parsed, parsed.raw_path


@lru_cache(maxsize=16)
def _parsed(origin: str) -> httpx.URL:
    return httpx.URL(origin)


def _as_httpx(error: Exception) -> httpx.TransportError:
    """Return httpx's error of the same name as its core's."""
    # Of a header that cannot be sent the words show the value, which may be the key.
    is_ours = isinstance(error, httpcore.LocalProtocolError)
    found: httpx.TransportError = getattr(httpx, type(error).__name__)(
        "" if is_ours else str(error)
    )
    return found


def _is_open(connection: httpcore.HTTPConnection) -> bool:
    # One that can be read unasked has expired too: it is its end, or no answer of ours.
    return not connection.is_closed() and not connection.has_expired()


def _has_more(connection: httpcore.HTTPConnection) -> bool:
    # Bytes beyond the answer: the next call would take them for its own. httpcore does not look.
    http: Any = connection._connection
    return bool(http._h11_state.trailing_data[0])


def make_ssl_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Load the trusted roots once: 35 ms that a client would otherwise spend each."""
    try:
        return ssl.create_default_context(cafile=ca_file or certifi.where())
    except OSError:
        raise SettingsError("SSL_CERT_FILE: must be a file of certificates in PEM") from None


def _read(response: httpcore.Response, most_bytes: int) -> bytes:
    body = bytearray()
    # As it came: a compressed body was not asked for, and is not unpacked.
    for chunk in cast("Iterable[bytes]", response.stream):
        body += chunk
        if len(body) > most_bytes:
            raise BodyTooLargeError
    return bytes(body)
