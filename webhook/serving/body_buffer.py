"""Where bodies are kept while they arrive: in memory, of which all large ones share so much.

A file for each would have the main loop wait for the disk, and all others with it.
"""

import sys
import threading

from waitress.buffers import OverflowableBuffer

# Nearly every webhook is smaller; a body counts from here on.
SMALL_BYTES = 32 * 1024
# With a thousand small ones beside them they fit a dyno of 512 MB.
LARGE_BYTES_IN_ALL = 64 * 1024 * 1024


class NoRoomError(Exception):
    """There are too many large bodies at once: this one may come again later."""


class Room:
    """What is left for large bodies; taken in the main loop, given back by any thread."""

    def __init__(self, size: int = LARGE_BYTES_IN_ALL) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Take so much; NoRoomError where it is not there."""
        with self._lock:
            if size > self._left:
                raise NoRoomError
            self._left -= size

    def give_back(self, size: int) -> None:
        """Have so much again."""
        with self._lock:
            self._left += size


class BodyBuffer(OverflowableBuffer):  # type: ignore[misc]
    """waitress's buffer of one body, which never overflows to a file."""

    def __init__(self, room: Room) -> None:
        super().__init__(sys.maxsize)
        self._room = room
        self._taken = 0

    def append(self, data: bytes) -> None:
        """Keep more of the body; NoRoomError where it is large, and too many others are."""
        if len(self) + len(data) > SMALL_BYTES:
            self._room.take(len(data))
            self._taken += len(data)
        super().append(data)

    def close(self) -> None:
        """Let go of it."""
        taken, self._taken = self._taken, 0
        self._room.give_back(taken)
        super().close()

    def __del__(self) -> None:
        # A connection that is given up at the end closes nothing.
        self.close()
