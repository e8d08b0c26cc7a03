"""Times as people write them in a filter: ISO 8601, or relative to now, in UTC."""

import re
from datetime import UTC, datetime, timedelta

from models.core.sanitize import is_clamped, utc_time

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS = {"today": 0, "yesterday": -1, "tomorrow": 1}
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# Five digits of weeks stay within what a database can store.
_AGO = re.compile(r"-([0-9]{1,5})([mhdw])")
_WORDS = "|".join(f"[{word[0].upper()}{word[0]}]{word[1:]}" for word in ("now", *_DAYS, *WEEKDAYS))
# The rule as a pattern, for OpenAPI; all that begins with a year is left to the service.
TIME_PATTERN = rf"^([0-9]{{4}}.*|{_AGO.pattern}|{_WORDS})$"
WRONG_TIME = (
    "must be an ISO 8601 time, such as 2026-11-20T09:00:00Z, or a relative one:"
    " -30m, -1h, -7d, -2w, now, today, yesterday, tomorrow or a weekday"
)


def read_time(value: object, now: datetime) -> datetime:
    """Return a time in UTC; ValueError for what is none. A day is its first moment."""
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC)
    # Pydantic's own parser would accept 5 as a time in 1970.
    if not isinstance(value, str) or not re.fullmatch(TIME_PATTERN, value):
        raise ValueError(WRONG_TIME)
    if relative := _relative(value.lower(), now):
        return relative
    if (found := utc_time(value)) is None or is_clamped(value):
        raise ValueError(WRONG_TIME)
    return found


def _relative(text: str, now: datetime) -> datetime | None:
    if found := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    if text == "now":
        return now
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in _DAYS:
        return midnight + timedelta(days=_DAYS[text])
    if text in WEEKDAYS:
        # The latest day of that name, which may be today.
        return midnight - timedelta(days=(now.weekday() - WEEKDAYS.index(text)) % 7)
    return None
