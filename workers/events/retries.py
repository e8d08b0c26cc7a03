"""What becomes of a delivery after a try: pure, so that a table can test it."""

from dataclasses import dataclass

from models.tables.event import EventState

# After the first try; 27 hours in all, as Svix has it.
WAITS = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
GONE = 410


@dataclass(frozen=True, slots=True)
class Tried:
    """One try: the status that was answered, or the error that came instead."""

    status: int | None
    ms: int
    error: str | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the endpoint has it."""
        return self.error is None and self.status is not None and 200 <= self.status < 300

    @property
    def is_refused_for_good(self) -> bool:
        """Whether the endpoint wants no event any more."""
        return self.status == GONE


def after(tried: Tried, attempts: int) -> tuple[EventState, float | None]:
    """Return the state after so many tries, this one among them, and the seconds to the next."""
    if tried.is_taken:
        return "delivered", None
    if tried.is_refused_for_good:
        return "off", None
    if attempts > len(WAITS):
        return "failed", None
    return "pending", WAITS[attempts - 1]
