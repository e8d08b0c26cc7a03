"""The lab's time: a clock is anything that returns Unix seconds."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], float]


class ManualClock:
    """A clock that stands still until a test advances it; Unix seconds."""

    def __init__(self, now: float = 1_780_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time it was last set to."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on by `seconds` (negative moves back)."""
        self.now += seconds


def moment(clock: Clock) -> datetime:
    """Return what the clock shows as an aware UTC datetime."""
    return datetime.fromtimestamp(clock(), UTC)
