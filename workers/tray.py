"""What waits to be settled: many results in one transaction, and none of them waits for long."""

import math
import time

from workers.claims import LinkResult
from workers.limits import Clock

# A settle costs little more for ten bots than for one, and nobody sees a fifth of a second.
RIPE_SECONDS = 0.2


class Tray:
    """Results until they are settled together: at once when nothing else is under way."""

    def __init__(self, most: int, clock: Clock = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._is_urgent = False
        self.results: list[LinkResult] = []
        # Infinite while there is nothing to write.
        self.ripe_at = math.inf

    def put(self, result: LinkResult) -> None:
        """Lay a result on the tray; one that failed is wanted at once, for what it may close."""
        self.results.append(result)
        self._is_urgent |= result.has_failed
        self.note()

    def note(self) -> None:
        """Say that there is something to write by and by."""
        self.ripe_at = min(self.ripe_at, self._clock() + RIPE_SECONDS)

    def is_ripe(self, working: int) -> bool:
        """Whether to write now, while so many bots are still being linked."""
        if self._clock() >= self.ripe_at:
            return True
        is_last = bool(self.results) and not working
        return is_last or self._is_urgent or len(self.results) >= self._most

    def empty(self) -> list[LinkResult]:
        """Take everything off the tray."""
        taken, self.results = self.results, []
        self.ripe_at, self._is_urgent = math.inf, False
        return taken
