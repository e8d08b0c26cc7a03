"""A request that waits for its batch's commit without holding a thread."""

from typing import Any

from greenlet import getcurrent, greenlet


class Waiter(greenlet):
    """Runs one request; what it hands in goes to its parent, and what is told comes back."""


def current_waiter() -> Waiter | None:
    """Return the waiter that this code runs in; None in a thread of its own."""
    current = getcurrent()
    return current if isinstance(current, Waiter) else None


def hand_in(waiter: Waiter, given: Any) -> Any:
    """Leave something with the batch; returns when the batch has an answer to it."""
    parent = waiter.parent
    if parent is None:
        raise RuntimeError("a waiter outside its batch")
    return parent.switch(given)
