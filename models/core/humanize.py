"""Durations and counts in words."""


def in_words(seconds: float) -> str:
    """Return a length of time in one unit, as people say it: 40 s, 12 min, 3 h, 2 days."""
    for unit, size in (("days", 172_800), ("h", 7200), ("min", 120)):
        if seconds >= size:
            return f"{seconds / _UNITS[unit]:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


_UNITS = {"days": 86_400, "h": 3600, "min": 60}
