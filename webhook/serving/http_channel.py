"""A waitress connection that ends without a reset and limits pipelining.

Closing a socket with unread data resets the connection, and the reset can overtake the response. So
after the last response only our side is shut down, and what still arrives is read and discarded.
"""

import socket
import time
from dataclasses import dataclass, field
from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import WSGITask

from webhook.monitoring.health import Health
from webhook.serving.body_buffer import Room
from webhook.serving.http_parser import RequestParser

# A client that still sends after this is disconnected, whether it read the response or not.
DISCARD_SECONDS = 10.0
DISCARD_BYTES = 16 * 1024 * 1024
DISCARD_AT_ONCE = 256 * 1024
# One packet can hold hundreds of small requests, each an object of some kilobytes.
MOST_PIPELINED = 16


@dataclass
class Shared:
    """State that all connections of a server share."""

    health: Health
    most_bytes: int
    room: Room = field(default_factory=Room)
    # Connections with the time at which to close them, earliest first.
    lingering: dict["Channel", float] = field(default_factory=dict)

    def close_overdue(self) -> None:
        """Close what has lingered long enough."""
        now = time.monotonic()
        overdue = []
        for channel, ends_at in self.lingering.items():
            if ends_at > now:
                break
            overdue.append(channel)
        for channel in overdue:
            channel.handle_close()


class Task(WSGITask):  # type: ignore[misc]
    """Tells the client to close the connection while the server drains."""

    def build_response_header(self) -> bytes:
        """Return the response's head."""
        if self.channel.shared.health.is_draining:
            # Otherwise a sender may post into a connection that is closing.
            self.request.headers["CONNECTION"] = "close"
        head: bytes = super().build_response_header()
        return head


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection; everything except `service` runs in the main loop."""

    task_class = Task

    def __init__(self, shared: Shared, *arguments: Any, **named: Any) -> None:
        self.shared = shared
        self._discarded: int | None = None
        super().__init__(*arguments, **named)

    def parser_class(self, adjustments: Any) -> RequestParser:
        """Return the parser of the next request."""
        is_last = len(self.requests) + 1 >= MOST_PIPELINED
        shared = self.shared
        return RequestParser(adjustments, shared.most_bytes, shared.room, is_last=is_last)

    def readable(self) -> bool:
        """Whether to read; also true while discarding."""
        return self._discarded is not None or super().readable()

    def writable(self) -> bool:
        """Whether there is data to write, or the connection has to be closed."""
        return bool(self.will_close if self._discarded is not None else super().writable())

    def handle_read(self) -> None:
        """Read a request, or discard what arrives after the last one."""
        if self._discarded is None:
            super().handle_read()
        else:
            self._discard(self._discarded)

    def handle_write(self) -> None:
        """Send pending data; after the last response, shut down our side."""
        # Read once, before the flush: a thread may set it in the meantime, with more to send.
        is_last_answer = self.close_when_flushed
        if is_last_answer or not self.requests:
            self._flush_exception(self._flush_some)
        elif self.total_outbufs_len >= self.adj.send_bytes:
            self._flush_exception(self._flush_some_if_lockable)
        if self.will_close:
            self.handle_close()
        elif is_last_answer and self.connected and not self.total_outbufs_len:
            self._linger()

    def handle_close(self) -> None:
        """Close at once."""
        self.shared.lingering.pop(self, None)
        if self.request is not None:
            self.request.close()
        super().handle_close()

    def _linger(self) -> None:
        self._discarded = 0
        self.shared.lingering[self] = time.monotonic() + DISCARD_SECONDS
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.handle_close()

    def _discard(self, before: int) -> None:
        try:
            # At the end of the client's data, recv closes the connection itself.
            self._discarded = before + len(self.recv(DISCARD_AT_ONCE))
        except OSError:
            self.handle_close()
            return
        if self._discarded > DISCARD_BYTES:
            self.handle_close()
