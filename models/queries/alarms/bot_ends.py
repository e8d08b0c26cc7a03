"""How bots ended, from the hourly counts: by day, and whether fewer than usual recorded."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from models.core.bot_outcome import END_KINDS
from models.core.humanize import plural
from models.core.sub_codes import describe_label
from models.queries.alarms.alert_checks import WEEK, AlarmContext
from models.tables.hourly_count import BOT_END, HourlyCount

DAYS = 14
# The first window with enough bots is judged: of a busy service six hours, of a quiet one a day.
RECENT_HOURS = (6, 24)
RECENT_AT_LEAST = 10
MISSED_AT_LEAST = 5
USUAL_AT_LEAST = 30
# Both have to be exceeded: a rise worth a look, and one that chance alone does not explain.
RISE_AT_LEAST = 0.2
DEVIATIONS = 3.0
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class EndCount:
    """How many bots ended in one way in one hour, and why."""

    hour: datetime
    kind: str
    sub_code: str
    count: int


@dataclass(frozen=True, slots=True)
class EndsOfDay:
    """How many bots ended in each way on one day (UTC)."""

    day: datetime
    ends: dict[str, int]


def ends_since(connection: Connection, since: datetime) -> list[EndCount]:
    """Read how bots ended in each hour that began at or after a time."""
    kept = select(HourlyCount.hour, HourlyCount.label, HourlyCount.count).where(
        HourlyCount.name == BOT_END, HourlyCount.hour >= since
    )
    return [
        EndCount(hour, *_kind_and_reason(label), count)
        for hour, label, count in connection.execute(kept)
    ]


def ends_by_day(connection: Connection, now: datetime) -> list[EndsOfDay]:
    """Read how bots ended on each of the last 14 days, the earliest first."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - n * _DAY for n in range(DAYS - 1, -1, -1)]
    counted: dict[datetime, Counter[str]] = {day: Counter() for day in days}
    for end in ends_since(connection, days[0]):
        if (counts := counted.get(end.hour.replace(hour=0))) is not None:
            counts[end.kind] += end.count
    return [EndsOfDay(day, _in_order(counted[day])) for day in days]


def not_recorded(context: AlarmContext) -> str | None:
    """Detect that more bots than usual recorded nothing; never because of a few."""
    this_hour = context.overview.at.replace(minute=0, second=0, microsecond=0)
    ends = ends_since(context.connection, this_hour - WEEK - max(RECENT_HOURS) * _HOUR)
    for hours in RECENT_HOURS:
        start = this_hour - (hours - 1) * _HOUR
        recent = [end for end in ends if end.hour >= start]
        if _total(recent) >= RECENT_AT_LEAST:
            usual = [end for end in ends if start - WEEK <= end.hour < start]
            return _compare(recent, usual, hours)
    return None


def _compare(recent: Sequence[EndCount], usual: Sequence[EndCount], hours: int) -> str | None:
    total, before = _total(recent), _total(usual)
    missed, missed_before = _missed(recent), _missed(usual)
    # No share is usual where hardly a bot has ended.
    if before < USUAL_AT_LEAST or missed < MISSED_AT_LEAST:
        return None
    # As if one more of each had ended: a week without any says little of the next bot.
    share = (missed_before + 1) / (before + 2)
    by_chance = total * share + DEVIATIONS * math.sqrt(total * share * (1 - share))
    if missed / total < share + RISE_AT_LEAST or missed <= by_chance:
        return None
    return (
        f"{missed} of {plural(total, 'bot')} that ended in the last {hours} h recorded nothing"
        f" ({missed / total:.0%}), compared with {missed_before} of {before} in the week before"
        f" ({missed_before / before:.0%}){_main_reason(recent)}"
    )


def _main_reason(ends: Iterable[EndCount]) -> str:
    reasons: Counter[str] = Counter()
    for end in ends:
        if end.kind != "recorded":
            reasons[end.sub_code] += end.count
    ((sub_code, count),) = reasons.most_common(1)
    return f"; the most frequent reason, {count} times: {describe_label(sub_code)}"


def _total(ends: Iterable[EndCount]) -> int:
    return sum(end.count for end in ends)


def _missed(ends: Iterable[EndCount]) -> int:
    return sum(end.count for end in ends if end.kind != "recorded")


def _in_order(counts: Counter[str]) -> dict[str, int]:
    known = [kind for kind in END_KINDS if counts[kind]]
    return {kind: counts[kind] for kind in [*known, *sorted(set(counts) - set(known))]}


def _kind_and_reason(label: str) -> tuple[str, str]:
    kind, _, sub_code = label.partition(" ")
    return kind, sub_code
