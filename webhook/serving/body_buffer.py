"""Buffers request bodies in memory while they arrive; large ones share a fixed amount.

waitress would write them to files, and the main loop, and with it every request, would wait for the
disk.
"""

import sys
import threading

from waitress.buffers import OverflowableBuffer

# Nearly every webhook is smaller; only larger bodies count.
SMALL_BYTES = 32 * 1024
# Together with a thousand small bodies this fits into a dyno of 512 MB.
LARGE_BYTES_IN_ALL = 64 * 1024 * 1024


class NoRoomError(Exception):
    """Too many large bodies at once; the sender may retry later."""


class Room:
    """The memory left for large bodies; reserved in the main loop, released by any thread."""

    def __init__(self, size: int = LARGE_BYTES_IN_ALL) -> None:
        self._left = size
        self._lock = threading.Lock()

    def reserve(self, size: int) -> None:
        """Reserve bytes; NoRoomError if there are not enough."""
        with self._lock:
            if size > self._left:
                raise NoRoomError
            self._left -= size

    def release(self, size: int) -> None:
        """Release bytes."""
        with self._lock:
            self._left += size


class BodyBuffer(OverflowableBuffer):  # type: ignore[misc]
    """waitress's buffer for one body, but it never overflows to a file."""

    def __init__(self, room: Room) -> None:
        super().__init__(sys.maxsize)
        self._room = room
        self._reserved = 0

    def append(self, data: bytes) -> None:
        """Add to the body; NoRoomError if it is large and too many others are."""
        if len(self) + len(data) > SMALL_BYTES:
            self._room.reserve(len(data))
            self._reserved += len(data)
        super().append(data)

    def close(self) -> None:
        """Release the body."""
        reserved, self._reserved = self._reserved, 0
        self._room.release(reserved)
        super().close()

    def __del__(self) -> None:
        # waitress does not close the buffer of a connection that it drops.
        self.close()
