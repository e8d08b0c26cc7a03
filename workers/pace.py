"""How many bots to hold beyond the threads, so that no thread waits for a claim."""

import time

from workers.limits import Clock

# Far less than the rate limits' headroom: a turn is used before it could count as another
# minute's.
AHEAD_SECONDS = 0.25


class Pace:
    """What a drain links in a quarter of a second is claimed ahead; nothing before it has linked.

    Slow calls make it hold none: those bots are better off with another worker.
    """

    def __init__(self, threads: int, clock: Clock = time.monotonic) -> None:
        self._threads = threads
        self._clock = clock
        self._started = clock()
        self._linked = 0

    def count(self, linked: int) -> None:
        """Note that so many more were linked."""
        self._linked += linked

    def room(self, working: int) -> int:
        """Return how many to claim while so many are with the threads; few are not worth it."""
        per_second = self._linked / max(self._clock() - self._started, AHEAD_SECONDS)
        ahead = min(self._threads // 2, int(per_second * AHEAD_SECONDS))
        room = self._threads + ahead - working
        return room if 3 * room > 2 * ahead else 0
