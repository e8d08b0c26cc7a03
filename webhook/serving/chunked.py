"""Reads a chunked body (RFC 9112) with a limit on each part of the framing.

Recall's sender sends a length, but a tunnel or a proxy in front may use chunks, so they are
accepted. waitress's own reader copies an unfinished line again with every packet.
"""

import re
from typing import Protocol

from waitress.utilities import BadRequest, Error, RequestEntityTooLarge

LONGEST_LINE = 256
MOST_TRAILERS = 16
# Honest chunks are at least a packet; one byte in each would cost a thousand times more.
FEWEST_BYTES = 1024
CHUNKS_TO_SPARE = 256
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")


class Buffer(Protocol):
    """A waitress body buffer."""

    def append(self, data: bytes) -> None:
        """Add data."""

    def getfile(self) -> object:
        """Return it as a file."""

    def __len__(self) -> int:
        """Return the number of bytes so far."""


class ChunkedBody:
    """Works like waitress's receivers, but looks at each byte only once."""

    def __init__(self, buffer: Buffer, most_bytes: int) -> None:
        self.completed = False
        self.error: Error | None = None
        self._buffer = buffer
        self._most_bytes = most_bytes
        self._chunks_left = CHUNKS_TO_SPARE + most_bytes // FEWEST_BYTES
        self._trailers_left = MOST_TRAILERS
        self._on_line = self._begin
        self._line = b""
        self._wanted = 0

    def __len__(self) -> int:
        return len(self._buffer)

    def getfile(self) -> object:
        """Return the body, as a file."""
        return self._buffer.getfile()

    def getbuf(self) -> Buffer:
        """Return the buffer."""
        return self._buffer

    def received(self, data: bytes) -> int:
        """Consume data; returns how many bytes belong to the body."""
        place = 0
        while place < len(data) and not self.completed and self.error is None:
            place = self._take(data, place) if self._wanted else self._read_line(data, place)
        return place

    def _take(self, data: bytes, place: int) -> int:
        taken = data[place : place + self._wanted]
        self._buffer.append(taken)
        self._wanted -= len(taken)
        return place + len(taken)

    def _read_line(self, data: bytes, place: int) -> int:
        end = data.find(b"\n", place, place + LONGEST_LINE) + 1
        self._line += data[place : end or place + LONGEST_LINE]
        if len(self._line) > LONGEST_LINE:
            self.error = BadRequest("a line of the chunks' framing is too long")
        elif end:
            line, self._line = self._line, b""
            if line.endswith(b"\r\n"):
                self._on_line(line[:-2])
            else:
                self.error = BadRequest("a line of the chunks' framing has no end")
        return end or min(len(data), place + LONGEST_LINE)

    def _begin(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        self._chunks_left -= 1
        if size is None:
            self.error = BadRequest("a chunk's size is no number")
        elif self._chunks_left < 0:
            self.error = BadRequest("the chunks are too small")
        else:
            self._wanted = int(size[1], 16)
            self._on_line = self._end if self._wanted else self._skip_trailer
            if len(self) + self._wanted > self._most_bytes:
                self.error = RequestEntityTooLarge(f"more than {self._most_bytes} bytes")

    def _end(self, line: bytes) -> None:
        self._on_line = self._begin
        if line:
            self.error = BadRequest("a chunk is longer than its size")

    def _skip_trailer(self, line: bytes) -> None:
        # Trailers are not used.
        self._trailers_left -= 1
        self.completed = not line
        if self._trailers_left < 0:
            self.error = BadRequest("too many trailers")
