"""How a request waits for its batch to commit without holding a thread."""

from typing import Any

from greenlet import getcurrent, greenlet


class BatchGreenlet(greenlet):
    """Runs one request: it passes its row to its parent and resumes with the outcome."""


def current_batch_greenlet() -> BatchGreenlet | None:
    """Return the batch greenlet that runs this code; None outside of a batch."""
    current = getcurrent()
    return current if isinstance(current, BatchGreenlet) else None


def wait_for_batch(request: BatchGreenlet, row: Any) -> Any:
    """Pass a row to the batch; returns its outcome once the batch is committed."""
    parent = request.parent
    if parent is None:
        raise RuntimeError("a batch greenlet without a batch")
    return parent.switch(row)
