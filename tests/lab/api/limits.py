"""Rate limits as an exact sliding window of 60 s (api pages, "rate limit" boxes)."""

import math
from collections import deque

from tests.lab.world.clock import Clock

WINDOW = 60.0


class Limits:
    """One window per (endpoint, workspace) or (endpoint, calendar user).

    `scale` multiplies every limit (0.1 makes 300 a minute 30); `on` False lets everything through.
    A refused call does not count, as at Recall's framework.
    """

    def __init__(self, clock: Clock, *, on: bool = True, scale: float = 1.0) -> None:
        self._clock = clock
        self.on = on
        self.scale = scale
        self._windows: dict[tuple[str, str], deque[float]] = {}

    def refuse(self, endpoint: str, whose: str, per_minute: int) -> int | None:
        """Count a call; return None, or the whole seconds to wait when the window is full."""
        if not self.on:
            return None
        now = self._clock()
        window = self._windows.setdefault((endpoint, whose), deque())
        while window and window[0] <= now - WINDOW:
            window.popleft()
        if len(window) >= max(1, int(per_minute * self.scale)):
            return max(1, math.ceil(window[0] + WINDOW - now))
        window.append(now)
        return None

    def clear(self) -> None:
        """Forget all calls so far."""
        self._windows.clear()
