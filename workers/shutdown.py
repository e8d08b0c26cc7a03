"""A request to stop, safe to make from a signal handler."""

import queue


class Stop:
    """Says whether to stop, and wakes whoever waits at an inbox.

    Not an Event: its lock may be held by the very code that the signal interrupts.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._inboxes: list[queue.SimpleQueue[object]] = []

    def request(self) -> None:
        """Ask to stop; again is the same."""
        # A SimpleQueue's put may interrupt itself; that of a Queue may not.
        self.is_requested = True
        for inbox in self._inboxes:
            inbox.put(self)

    def wakes(self, inbox: "queue.SimpleQueue[object]") -> None:
        """Put this object into `inbox` when the stop is asked for."""
        self._inboxes.append(inbox)

    def forget(self, inbox: "queue.SimpleQueue[object]") -> None:
        """Put nothing into `inbox` any more: who waited there has ended."""
        self._inboxes.remove(inbox)
