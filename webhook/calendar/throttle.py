"""A rate limit per caller: a burst while a page loads, then a steady rate."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

BURST = 20
PER_SECOND = 1.0
# A forgotten caller gets a new burst, which does no harm; memory stays bounded.
MOST_CALLERS = 10_000


class CallerLimit:
    """Counts per caller in this process, because it protects this process's threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """Return 0 and count the request, or return the seconds to wait."""
        with self._lock:
            now = self._clock()
            level, at = self._levels.pop(caller, (float(BURST), now))
            level = min(BURST, level + (now - at) * PER_SECOND)
            allowed = level >= 1
            self._levels[caller] = (level - 1 if allowed else level, now)
            if len(self._levels) > MOST_CALLERS:
                self._levels.popitem(last=False)
        return 0.0 if allowed else (1 - level) / PER_SECOND
