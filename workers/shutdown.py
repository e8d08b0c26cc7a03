"""A request to stop, safe to make from a signal handler."""

import queue


class Stop:
    """Whether a stop was requested; wakes threads that wait at an inbox.

    Not an Event: the code that the signal interrupts may hold its lock.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._inboxes: list[queue.SimpleQueue[object]] = []

    def request(self) -> None:
        """Request the stop; may be repeated."""
        # Unlike Queue.put, SimpleQueue.put is reentrant.
        self.is_requested = True
        for inbox in self._inboxes:
            inbox.put(self)

    def wakes(self, inbox: "queue.SimpleQueue[object]") -> None:
        """Put this object into `inbox` when a stop is requested."""
        self._inboxes.append(inbox)

    def forget(self, inbox: "queue.SimpleQueue[object]") -> None:
        """Put nothing into `inbox` any more."""
        self._inboxes.remove(inbox)
