"""Converts outside values into ones that both databases can store."""

import re
from datetime import UTC, datetime

LONGEST_TEXT = 1000
SHORTEST_PREFIX = 8
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# \Z, because $ also matches before a trailing newline.
_PLAIN_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.ASCII | re.IGNORECASE
)
_FIRST_UUID = "00000000-0000-0000-0000-000000000000"
_LAST_UUID = _FIRST_UUID.replace("0", "f")

# The limits of datetime in UTC. A text with an offset can name a time beyond them.
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


def storable(text: str, limit: int = LONGEST_TEXT) -> str:
    """Return at most `limit` characters, with NUL and surrogates replaced by U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text[:limit])


def is_storable(text: str) -> bool:
    """Whether PostgreSQL takes this text as it is."""
    return _UNSTORABLE.search(text) is None


def plain_uuid(value: object) -> str | None:
    """Return a 36-character UUID in lower case; None for anything else."""
    if isinstance(value, str) and _PLAIN_UUID.match(value):
        return value.lower()
    return None


def uuid_range(text: str) -> tuple[str, str] | None:
    """Return the first and last UUID with this prefix; None for a prefix under 8 characters."""
    first = plain_uuid(text + _FIRST_UUID[len(text) :])
    if first is None or len(text) < SHORTEST_PREFIX:
        return None
    # Full-length bounds sort like the ids in an index of any collation.
    return first, first[: len(text)] + _LAST_UUID[len(text) :]


def email_address(text: str) -> str:
    """Return an address as it is stored and compared: trimmed and in lower case."""
    return text.strip().lower()


def utc_time(value: object) -> datetime | None:
    """Return an ISO 8601 time in UTC (the default zone); None for anything else.

    A time outside EARLIEST … LATEST is clamped; see `is_clamped`.
    """
    moment = _moment(value)
    # Clamped first, because astimezone fails beyond the limits.
    return None if moment is None else min(max(moment, EARLIEST), LATEST).astimezone(UTC)


def is_clamped(value: object) -> bool:
    """Whether `utc_time` clamps this value."""
    moment = _moment(value)
    return moment is not None and not EARLIEST <= moment <= LATEST


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment and not moment.tzinfo else moment
