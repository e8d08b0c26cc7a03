"""Just enough HTTP/1.1: a parser fed with bytes, and the request and response it works on."""

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

MAX_HEAD = 64 * 1024
MAX_BODY = 32 * 1024 * 1024
BODILESS = frozenset({204, 304})
REASONS = {status.value: status.phrase for status in HTTPStatus}


class BadRequestError(Exception):
    """What arrived is not HTTP we answer; `status` says how to refuse it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(slots=True)
class Request:
    """One request; header names in lower case, repeats joined by a comma, `path` unquoted."""

    method: str
    target: str
    version: str
    headers: dict[str, str]
    body: bytes = b""
    peer: tuple[str, int] = ("", 0)
    origin: str = ""

    @property
    def path(self) -> str:
        """The path without the query, percent-decoded."""
        path = self.target.partition("?")[0]
        return unquote(path) if "%" in path else path

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query as pairs in order, blank values kept."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def wants_close(self) -> bool:
        """Whether the connection ends after the answer."""
        connection = self.headers.get("connection", "").lower()
        return connection == "close" or (self.version == "HTTP/1.0" and connection != "keep-alive")

    def json(self) -> Any:
        """Return the body as JSON; ValueError when it is none."""
        return json.loads(self.body)


@dataclass(slots=True)
class Response:
    """One answer; `headers` come beside Content-Type and Content-Length."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)

    def head(self, *, length: int | None, close: bool = False) -> bytes:
        """Return the status line and headers; length None announces no Content-Length."""
        lines = [
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unnamed')}",
            f"Content-Type: {self.content_type}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        if length is not None and self.status not in BODILESS:
            lines.append(f"Content-Length: {length}")
        if close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def encode(self, *, close: bool = False) -> bytes:
        """Return head and body as they go over the wire."""
        body = b"" if self.status in BODILESS else self.body
        return self.head(length=len(body), close=close) + body


class Parser:
    """Turns the bytes of one connection into requests, one at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: Request | None = None

    def feed(self, data: bytes) -> None:
        """Take in what arrived."""
        self._buffer += data

    def next_request(self) -> Request | None:
        """Return the next whole request, None until one is there; BadRequestError for nonsense."""
        request = self._head or self._take_head()
        if request is None:
            return None
        self._head = request
        body = self._take_body(request)
        if body is None:
            return None
        self._head = None
        request.body = body
        return request

    def _take_head(self) -> Request | None:
        end = self._buffer.find(b"\r\n\r\n")
        if max(end, 0 if end >= 0 else len(self._buffer)) > MAX_HEAD:
            raise BadRequestError(431)
        if end < 0:
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        return _request(lines)

    def _take_body(self, request: Request) -> bytes | None:
        if "transfer-encoding" in request.headers:
            return self._take_chunks()
        length = _length(request.headers.get("content-length", "0"))
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _take_chunks(self) -> bytes | None:
        body, at = bytearray(), 0
        while (end := self._buffer.find(b"\r\n", at)) >= 0:
            size = _hex(bytes(self._buffer[at:end]))
            stop = end + 2 + size
            if len(self._buffer) < stop + 2:
                return None
            body += self._buffer[end + 2 : stop]
            at = stop + 2
            if size == 0:
                del self._buffer[:at]
                return bytes(body)
        return None


def _request(lines: list[str]) -> Request:
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequestError(400)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequestError(400)
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request(parts[0], parts[1], parts[2], headers)


def _length(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise BadRequestError(400)
    if (length := int(text[:12])) > MAX_BODY:
        raise BadRequestError(413)
    return length


def _hex(line: bytes) -> int:
    try:
        size = int(line.partition(b";")[0], 16)
    except ValueError as error:
        raise BadRequestError(400) from error
    if not 0 <= size <= MAX_BODY:
        raise BadRequestError(413)
    return size
