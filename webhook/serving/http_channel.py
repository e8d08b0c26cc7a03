"""A connection of waitress's that ends without a reset, and reads no further ahead than it serves.

A socket that is closed with something unread resets the connection, and the reset overtakes the
answer. So after the last answer our side ends alone, and what still comes is read off.
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

# Who still sends after that is cut off, whether its answer was read or not.
DISCARD_SECONDS = 10.0
DISCARD_BYTES = 16 * 1024 * 1024
DISCARD_AT_ONCE = 256 * 1024
# One packet holds hundreds of small requests, and each is an object of some kilobytes.
MOST_PIPELINED = 16


@dataclass
class Common:
    """What all connections of a server share."""

    health: Health
    most_bytes: int
    room: Room = field(default_factory=Room)
    # By the time at which each is given up, the earliest first.
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
    """A request that is told when its connection is the last one."""

    def build_response_header(self) -> bytes:
        """Return the answer's head."""
        if self.channel.common.health.is_draining:
            # A sender that is told leaves; one that is not posts into a connection's end.
            self.request.headers["CONNECTION"] = "close"
        head: bytes = super().build_response_header()
        return head


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection; all but `service` runs in the main loop."""

    task_class = Task

    def __init__(self, common: Common, *arguments: Any, **named: Any) -> None:
        self.common = common
        self._discarded: int | None = None
        super().__init__(*arguments, **named)

    def parser_class(self, adjustments: Any) -> RequestParser:
        """Return what reads the next request."""
        is_last = len(self.requests) + 1 >= MOST_PIPELINED
        common = self.common
        return RequestParser(adjustments, common.most_bytes, common.room, is_last=is_last)

    def readable(self) -> bool:
        """Whether to read: also what is read off."""
        return self._discarded is not None or super().readable()

    def writable(self) -> bool:
        """Whether there is something to write, or the connection to close."""
        return bool(self.will_close if self._discarded is not None else super().writable())

    def handle_read(self) -> None:
        """Read a request, or read off what comes after the last."""
        if self._discarded is None:
            super().handle_read()
        else:
            self._discard(self._discarded)

    def handle_write(self) -> None:
        """Send what there is; after the last answer, end our side."""
        # Asked once, before the flush: a thread may set it meanwhile, with more to send.
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
        self.common.lingering.pop(self, None)
        if self.request is not None:
            self.request.close()
        super().handle_close()

    def _linger(self) -> None:
        self._discarded = 0
        self.common.lingering[self] = time.monotonic() + DISCARD_SECONDS
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.handle_close()

    def _discard(self, before: int) -> None:
        try:
            # At the sender's end it closes by itself.
            self._discarded = before + len(self.recv(DISCARD_AT_ONCE))
        except OSError:
            self.handle_close()
            return
        if self._discarded > DISCARD_BYTES:
            self.handle_close()
