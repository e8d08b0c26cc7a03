"""Values from outside, made fit for a column of either database."""

import re
from datetime import UTC, datetime

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# \Z and not $: a trailing newline would pass the latter.
_PLAIN_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.ASCII | re.IGNORECASE
)

# The ends of the calendar in UTC: with an offset, a day more is written there than there is.
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


def storable(text: str, limit: int = 1000) -> str:
    """Return at most `limit` characters; what PostgreSQL refuses (NUL, surrogates) as U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text[:limit])


def plain_uuid(value: object) -> str | None:
    """Return a UUID in its 36-character form, lower-cased; None for anything else."""
    if isinstance(value, str) and _PLAIN_UUID.match(value):
        return value.lower()
    return None


def utc_time(value: object) -> datetime | None:
    """Return an ISO 8601 text's time in UTC; one without a zone counts as UTC, nonsense is None.

    A time outside of EARLIEST … LATEST is clamped to it: see `is_clamped`.
    """
    moment = _moment(value)
    # Compared before it is converted, which fails beyond the ends.
    return None if moment is None else min(max(moment, EARLIEST), LATEST).astimezone(UTC)


def is_clamped(value: object) -> bool:
    """Whether `utc_time` returns another time than this text says."""
    moment = _moment(value)
    return moment is not None and not EARLIEST <= moment <= LATEST


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment and not moment.tzinfo else moment
