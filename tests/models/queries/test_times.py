"""Times in filters: ISO 8601, or relative to now."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from models.queries.times import TIME_PATTERN, read_time

# A Thursday.
NOW = datetime(2026, 11, 26, 9, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T09:00:00+02:00", datetime(2026, 11, 20, 7, tzinfo=UTC)),
        ("-30m", NOW - timedelta(minutes=30)),
        ("-1h", NOW - timedelta(hours=1)),
        ("-7d", NOW - timedelta(days=7)),
        ("-2w", NOW - timedelta(days=14)),
        ("-99999w", NOW - timedelta(weeks=99_999)),
        ("now", NOW),
        ("today", datetime(2026, 11, 26, tzinfo=UTC)),
        ("yesterday", datetime(2026, 11, 25, tzinfo=UTC)),
        ("tomorrow", datetime(2026, 11, 27, tzinfo=UTC)),
        ("thursday", datetime(2026, 11, 26, tzinfo=UTC)),
        ("Wednesday", datetime(2026, 11, 25, tzinfo=UTC)),
        ("friday", datetime(2026, 11, 20, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_utc(text: str, expected: datetime) -> None:
    """And the pattern in the API's description admits it."""
    assert read_time(text, NOW) == expected
    assert re.match(TIME_PATTERN, text)


@pytest.mark.parametrize(
    "value",
    ["", "someday", "-1y", "1h", "-h", "-100000d", "--1h", "-1h30m", "todayish", "-\u0661h", 5],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    """The words say which forms there are; the pattern refuses it as well."""
    with pytest.raises(ValueError, match=r"must be an ISO 8601 time.*-1h.*yesterday"):
        read_time(value, NOW)
    assert not re.match(TIME_PATTERN, str(value))


def test_a_time_with_a_zone_is_kept() -> None:
    """As code gives it; it is told in UTC."""
    zone = timezone(timedelta(hours=2))
    assert read_time(NOW.astimezone(zone), NOW).tzinfo is UTC
