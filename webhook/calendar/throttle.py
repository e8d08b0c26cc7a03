"""How often one caller may ask: a burst for a page that loads, a steady rate after it."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

BURST = 20
PER_SECOND = 1.0
# A caller who is forgotten gets a burst again: no loss, and memory has an end.
MOST_CALLERS = 10_000


class CallerLimit:
    """Counts per caller in this process: what is guarded is this process's own threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """Return 0 and count the request, or the seconds until one may come."""
        with self._lock:
            now = self._clock()
            level, at = self._levels.pop(caller, (float(BURST), now))
            level = min(BURST, level + (now - at) * PER_SECOND)
            allowed = level >= 1
            self._levels[caller] = (level - 1 if allowed else level, now)
            if len(self._levels) > MOST_CALLERS:
                self._levels.popitem(last=False)
        return 0.0 if allowed else (1 - level) / PER_SECOND
