"""The alarm about bots that were given up: more of them than usual."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from statistics import median

from sqlalchemy import Connection, Row, select

from models.core.humanize import plural
from models.queries.alarms.alert_checks import AlarmContext
from models.tables.bot import Bot
from models.tables.hourly_count import HourlyCount

FAILED_HOURS = 6
# One bot alone is never a pattern, and two may be chance.
FAILED_AT_LEAST = 3
TIMES_USUAL = 3
MOST_FAILED = 1000
MOST_REASONS = 3
USUAL_DAYS = 7


def failures(context: AlarmContext) -> str | None:
    """Detect that many more bots than usual were given up."""
    if not context.overview.backlog.failed:
        return None
    connection, hour = context.connection, context.overview.hours[-1].hour
    since = hour - timedelta(hours=FAILED_HOURS - 1)
    reasons = _failed_since(connection, since)
    usual = _usually_failed(connection, since, hour)
    if reasons.total() < FAILED_AT_LEAST or reasons.total() <= TIMES_USUAL * usual:
        return None
    most = "at least " if reasons.total() >= MOST_FAILED else ""
    by_reason = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common(MOST_REASONS))
    others = reasons.total() - sum(n for _, n in reasons.most_common(MOST_REASONS))
    by_reason += f", {others} for other reasons" if others else ""
    words = f"{most}{plural(reasons.total(), 'bot')} could not be fetched and were given up"
    return f"{words} in the last {FAILED_HOURS} h, usually {usual:.0f} ({by_reason})"


def _failed_since(connection: Connection, since: datetime) -> Counter[str]:
    newest = select(Bot.last_error, Bot.settled_at).where(Bot.link_state == "failed")
    # The limit is inside: what an outage left behind is not read each minute for ever.
    some = newest.order_by(Bot.first_seen_at.desc(), Bot.id.desc()).limit(MOST_FAILED).subquery()
    errors = connection.scalars(select(some.c.last_error).where(some.c.settled_at >= since))
    return Counter(_reason(error) for error in errors)


def _reason(error: str | None) -> str:
    # What follows the colon may quote Recall.
    return (error or "unknown").partition(":")[0][:40]


def _usually_failed(connection: Connection, since: datetime, hour: datetime) -> float:
    """Return the median of the same hours on each of the last seven days."""
    counted = select(HourlyCount.hour, HourlyCount.count).where(
        HourlyCount.name == "link",
        HourlyCount.label == "failed",
        HourlyCount.hour >= since - timedelta(days=USUAL_DAYS),
        HourlyCount.hour < since,
    )
    rows = connection.execute(counted).all()
    days = (timedelta(days=n) for n in range(1, USUAL_DAYS + 1))
    return median(_sum(rows, since - day, hour - day) for day in days)


def _sum(rows: Iterable[Row[datetime, int]], first: datetime, last: datetime) -> int:
    return sum(count for hour, count in rows if first <= hour <= last)
