"""Values from outside, made fit for a column of either database."""

import re
from datetime import UTC, datetime

LONGEST_TEXT = 1000
SHORTEST_PREFIX = 8
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# \Z and not $: a trailing newline would pass the latter.
_PLAIN_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.ASCII | re.IGNORECASE
)
_FIRST_UUID = "00000000-0000-0000-0000-000000000000"
_LAST_UUID = _FIRST_UUID.replace("0", "f")

# The ends of the calendar in UTC: with an offset, a day more is written there than there is.
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


def storable(text: str, limit: int = LONGEST_TEXT) -> str:
    """Return at most `limit` characters; what PostgreSQL refuses (NUL, surrogates) as U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text[:limit])


def plain_uuid(value: object) -> str | None:
    """Return a UUID in its 36-character form, lower-cased; None for anything else."""
    if isinstance(value, str) and _PLAIN_UUID.match(value):
        return value.lower()
    return None


def uuid_range(text: str) -> tuple[str, str] | None:
    """Return the first and the last UUID that begin so; None for less than 8 characters of one."""
    first = plain_uuid(text + _FIRST_UUID[len(text) :])
    if first is None or len(text) < SHORTEST_PREFIX:
        return None
    # Both whole, so that they stand in an index as the ids do, whatever its collation.
    return first, first[: len(text)] + _LAST_UUID[len(text) :]


def email_address(text: str) -> str:
    """Return an address as it is kept and looked up: people write theirs in any case."""
    return text.strip().lower()


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
