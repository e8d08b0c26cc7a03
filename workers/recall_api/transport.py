"""Calls to Recall over httpx, each with a deadline."""

import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from json import dumps
from typing import cast

import certifi
import httpcore
import httpx

from models.settings.environment import SettingsError
from workers.recall_api.deadline import Deadline, DeadlineBackend, DeadlineStream

MAX_BODY_BYTES = 2 * 1024 * 1024
# For lists: a hundred bots with signed media URLs, or a year of meetings.
LIST_BYTES = 32 * 1024 * 1024
CONNECT_SECONDS = 5.0
KEPT_SECONDS = 60.0
KEPT_CONNECTIONS = 64
USER_AGENT = "recall-links"
_HEADERS = {
    "accept": "application/json",
    # Against compression bombs.
    "accept-encoding": "identity",
    "user-agent": USER_AGENT,
}
# Reads and writes are limited by the call's deadline, in the network backend.
_TIMEOUT = httpx.Timeout(None, connect=CONNECT_SECONDS)
_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)


class BodyTooLargeError(Exception):
    """An answer is larger than allowed; the rest of it was not read."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


# For rooms that are not to know httpx.
CALL_FAILURES = (httpx.TransportError, BodyTooLargeError)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer: status, headers, and the body as it was sent."""

    status: int
    headers: httpx.Headers
    body: bytes


class _ResponseStream(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from cast("Iterable[bytes]", self._response.stream)

    def close(self) -> None:
        # Before the pool can give this connection to another thread.
        stream = self._response.extensions.get("network_stream")
        if isinstance(stream, DeadlineStream):
            lengths = [v for k, v in self._response.headers if k.lower() == b"content-length"]
            stream.finish(lengths)
        self._response.close()


class DeadlineTransport(httpx.BaseTransport):
    """A pool of connections that respects each thread's deadline."""

    def __init__(self, context: ssl.SSLContext, deadline: Deadline) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            # One for each thread: waiting for a connection would ignore the deadline.
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=DeadlineBackend(deadline),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; httpx.TransportError."""
        url = request.url
        where = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        sent = httpcore.Request(
            request.method,
            where,
            headers=request.headers.raw,
            content=cast("Iterable[bytes]", request.stream),
            extensions=request.extensions,
        )
        with _httpx_errors():
            response = self._pool.handle_request(sent)
        # httpx would build the redirected request even though it must not follow it.
        headers = [one for one in response.headers if one[0].lower() != b"location"]
        return httpx.Response(
            response.status,
            headers=headers,
            stream=_ResponseStream(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class HttpClient:
    """Makes calls, each with its own deadline; thread-safe."""

    def __init__(self, context: ssl.SSLContext, most_bytes: int = MAX_BODY_BYTES) -> None:
        self._deadline = Deadline()
        self._most_bytes = most_bytes
        self._client = httpx.Client(
            transport=DeadlineTransport(context, self._deadline),
            headers=_HEADERS,
            # A cookie would carry state from one user's call to the next.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=_TIMEOUT,
            # A proxy, .netrc or a redirect could send the key elsewhere.
            trust_env=False,
            follow_redirects=False,
        )

    def call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        json: object = None,
        *,
        seconds: float,
    ) -> Answer:
        """Make one call of at most `seconds`; raises one of CALL_FAILURES.

        Bytes are sent as they are; any other value as JSON.
        """
        with self._send(method, url, headers, json, seconds) as response:
            return self._read(response)

    def status(self, method: str, url: str, json: object = None, *, seconds: float) -> int:
        """Make one call and return its status; its body is not read. CALL_FAILURES."""
        with self._send(method, url, {}, json, seconds) as response:
            return response.status_code

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def _send(
        self, method: str, url: str, headers: Mapping[str, str], json: object, seconds: float
    ) -> Iterator[httpx.Response]:
        self._deadline.start(seconds)
        sent = dict(headers)
        content: bytes | str | None = None
        if isinstance(json, bytes):
            content = json
        elif json is not None:
            sent["content-type"] = "application/json"
            content = dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        try:
            with self._client.stream(method, url, headers=sent, content=content) as response:
                yield response
        except (UnicodeError, httpx.InvalidURL):
            raise httpx.LocalProtocolError("what no request can carry") from None

    def _read(self, response: httpx.Response) -> Answer:
        body = bytearray()
        # Raw: a compressed body was not requested, and is not decompressed.
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > self._most_bytes:
                raise BodyTooLargeError(response.status_code)
        return Answer(response.status_code, response.headers, bytes(body))


@contextmanager
def _httpx_errors() -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        # The message about an invalid header shows its value, which may be the key.
        words = "" if isinstance(error, httpcore.LocalProtocolError) else str(error)
        raise getattr(httpx, type(error).__name__)(words) from None


def make_ssl_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Load the root certificates, once for all clients: it takes 35 ms."""
    try:
        return ssl.create_default_context(cafile=ca_file or certifi.where())
    except OSError:
        raise SettingsError("SSL_CERT_FILE: must be a file of certificates in PEM") from None
