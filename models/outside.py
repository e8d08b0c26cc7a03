"""Values from outside, made fit for a column of either database."""

import re
from datetime import UTC, datetime

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# \Z and not $: a trailing newline would pass the latter.
_PLAIN_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.ASCII | re.IGNORECASE
)


def storable(text: str, limit: int = 1000) -> str:
    """Return at most `limit` characters; what PostgreSQL refuses (NUL, surrogates) as U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text[:limit])


def plain_uuid(value: object) -> str | None:
    """Return a UUID in its 36-character form, lower-cased; None for anything else."""
    if isinstance(value, str) and _PLAIN_UUID.match(value):
        return value.lower()
    return None


def utc_time(value: object) -> datetime | None:
    """Return an ISO 8601 text's time in UTC; one without a zone counts as UTC, nonsense is None."""
    if not isinstance(value, str):
        return None
    # Year 1 with an offset to the east is before all time: an OverflowError, not a ValueError.
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
