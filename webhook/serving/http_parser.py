"""waitress's request parser with the limits that it lacks."""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import FixedStreamReceiver

from webhook.serving.body_buffer import BodyBuffer, NoRoomError, Room
from webhook.serving.chunked import ChunkedBody
from webhook.serving.proxy_headers import remove_malformed

# The same error codes as the receiver's responses.
_CODES = {
    400: "bad_request",
    413: "too_large",
    431: "headers_too_large",
    501: "not_implemented",
    503: "no_room",
}
_CONTROL = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The response that waitress sends for a request it cannot accept, instead of its own."""

    code: int
    reason: str

    def to_response(self, _ident: str | None) -> tuple[str, list[tuple[str, str]], bytes]:
        """Return status, headers and body; the body echoes no input."""
        body = {"error": _CODES[self.code], "status": self.code, "title": self.reason}
        headers = [("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff")]
        if self.code == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append(("Retry-After", "5"))
        return f"{self.code} {self.reason}", headers, json.dumps(body).encode()


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """Refuses a body over the limit at its first bytes, and anything malformed."""

    # waitress logs it even if the request line could not be parsed.
    path = ""
    expect_continue = False

    def __init__(
        self, adjustments: Any, most_bytes: int, room: Room, *, is_last: bool = False
    ) -> None:
        super().__init__(adjustments)
        self._most_bytes = most_bytes
        self._room = room
        self._is_last = is_last

    def received(self, data: bytes) -> int:
        """Consume data; returns how many bytes belong to this request."""
        try:
            consumed: int = super().received(data)
        except NoRoomError:
            self.error = Refusal(503, "Service Unavailable")
        if self.error is not None:
            return self._refuse(data)
        if self.body_rcv is None:
            # Otherwise waitress would ask for a body and take the next request for it.
            self.expect_continue = False
        return self._end_here(data) if self._is_last and self._is_whole() else consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Read the request line and the headers."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            # From urlsplit, or for a number with more digits than Python accepts.
            raise ParsingError("the head cannot be read") from error
        if self.adj.trusted_proxy:
            remove_malformed(self.headers)
        if _CONTROL.search(self.request_uri):
            raise ParsingError("a control character in the target")
        if self.content_length > self._most_bytes:
            self.error = Refusal(413, "Request Entity Too Large")
        elif self.chunked:
            self.body_rcv = ChunkedBody(BodyBuffer(self._room), self._most_bytes)
        elif self.content_length:
            self.body_rcv = FixedStreamReceiver(self.content_length, BodyBuffer(self._room))

    def _is_whole(self) -> bool:
        return bool(self.completed and not self.empty)

    def _refuse(self, data: bytes) -> int:
        if not isinstance(self.error, Refusal):
            self.error = Refusal(self.error.code, self.error.reason)
        self.completed = True
        # The response is final, so do not ask for the body.
        self.expect_continue = False
        return len(data)

    def _end_here(self, data: bytes) -> int:
        self.headers["CONNECTION"] = "close"
        return len(data)
