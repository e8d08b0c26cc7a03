"""Durations and counts as text."""


def duration(seconds: float) -> str:
    """Return a duration in seconds as text in one unit: 40 s, 12 min, 3 h, 2 days."""
    for unit, size in (("days", 172_800), ("h", 7200), ("min", 120)):
        if seconds >= size:
            return f"{seconds / _UNITS[unit]:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: no bots, 1 bot, 2 bots."""
    noun = one if count == 1 else (many or f"{one}s")
    return f"{count or 'no'} {noun}"


_UNITS = {"days": 86_400, "h": 3600, "min": 60}
