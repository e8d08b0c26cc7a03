"""The checks behind the alarms: each returns what is wrong, or None."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, text

from models.core.humanize import duration, plural
from models.queries.events.endpoints import TroubledEndpoint
from models.queries.service_status import (
    WORKER_IS_AWAY_AFTER,
    HourlyCountRow,
    Overview,
    hourly_counts_since,
)
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from models.tables.missed_meeting import MissedMeeting

# Longer than a weekend, and a day before Recall disables an endpoint.
LATEST_WARNING = timedelta(days=4)
SHORTEST_SILENCE = timedelta(hours=2)
WEEK = timedelta(days=7)
EXPECTED_AT_LEAST = 5
REFUSED_AT_LEAST = 5
# A busy service reaches the minimum in two hours, a quiet one in a day.
REFUSED_HOURS = (2, 24)
MOST_OVERDUE = 100
DAY = timedelta(days=1)
MOST_MISSED = 500
STALLED_SECONDS = 300.0
# Beyond the first retry: a receiver that is being deployed is no reason to wake anybody.
FAILING_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class AlarmContext:
    """The input of a check: the overview, and a connection for further queries."""

    connection: Connection
    overview: Overview


def all_refused(context: AlarmContext) -> str | None:
    """Detect a window in which every request was refused."""
    for hours in REFUSED_HOURS:
        recent = context.overview.hours[-hours:]
        # One verified webhook proves secret and clock; the refused requests came from others.
        if any(sum(hour.deliveries.values()) for hour in recent):
            return None
        reasons: Counter[str] = Counter()
        for hour in recent:
            reasons.update(hour.rejections)
        if reasons.total() >= REFUSED_AT_LEAST:
            counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
            return f"all {reasons.total()} requests in the last {hours} h were rejected ({counts})"
    return None


def silence(context: AlarmContext) -> str | None:
    """Detect missing webhooks."""
    connection, overview = context.connection, context.overview
    last = overview.last_delivery_at
    if last is None or overview.at - last < SHORTEST_SILENCE:
        return None
    # Compare with a week ago, because nights and weekends are always quiet.
    weeks = hourly_counts_since(connection, overview.at - WEEK - LATEST_WARNING)
    expected = _expected(weeks, last - WEEK, overview.at - WEEK)
    overdue = _overdue(connection, last, overview.at - SHORTEST_SILENCE)
    signs = [f"no webhook for {duration((overview.at - last).total_seconds())}"]
    if expected >= EXPECTED_AT_LEAST:
        signs.append(f"compared with {expected} in the same period a week ago")
    if overdue:
        signs.append(f"{plural(overdue, 'bot')} did not report the end of a meeting that is over")
    if len(signs) == 1 and overview.at - last < LATEST_WARNING:
        return None
    return ", ".join(signs)


def _expected(weeks: Sequence[HourlyCountRow], start: datetime, end: datetime) -> int:
    # Only whole hours: the hour of the last webhook was partly active.
    hour = timedelta(hours=1)
    delivered = (row for row in weeks if row.name == "delivery")
    return sum(row.count for row in delivered if start <= row.hour and row.hour + hour <= end)


def _overdue(connection: Connection, last: datetime, until: datetime) -> int:
    meeting = CalendarMeeting
    # One subquery a bot, because live bots are few and links are many.
    latest = (
        select(func.max(meeting.end_time))
        .join(Link, Link.meeting_id == meeting.id)
        .where(Link.bot_id == Bot.id, meeting.end_time < until)
        .scalar_subquery()
    )
    some = (
        select(Bot.id)
        .where(text(Bot.IS_LIVE))
        # A bot is first seen when it joins or shortly before; a week covers any meeting.
        .where(Bot.first_seen_at >= last - WEEK, Bot.first_seen_at < until, latest >= last)
        .limit(MOST_OVERDUE)
    )
    return connection.scalar(select(func.count()).select_from(some.subquery())) or 0


def circuit_open(context: AlarmContext) -> str | None:
    """Detect that Recall refuses the whole workspace."""
    circuit = context.overview.circuit
    if not circuit.open_for:
        return None
    wait = duration(circuit.open_for)
    return f"calls are paused ({circuit.reason}); next attempt in {wait}"


def no_worker(context: AlarmContext) -> str | None:
    """Detect that no worker is alive."""
    if any(worker.seen_seconds < WORKER_IS_AWAY_AFTER for worker in context.overview.workers):
        return None
    return "no worker has reported for two minutes"


def stalled(context: AlarmContext) -> str | None:
    """Detect work that is waiting too long."""
    backlog = context.overview.backlog
    oldest = max(backlog.oldest_unapplied_seconds or 0, backlog.oldest_due_seconds or 0)
    # An open circuit explains the delay and has its own alarm.
    if oldest < STALLED_SECONDS or context.overview.circuit.open_for:
        return None
    return f"the oldest item has been waiting for {duration(oldest)}"


def webhooks_missed(context: AlarmContext) -> str | None:
    """Detect that the last reconcile found missed webhooks."""
    last = context.overview.reconcile
    if last is None or not (last.bots_missed or last.statuses_missed):
        return None
    bots = plural(last.bots_missed, "bot")
    statuses = plural(last.statuses_missed, "status", "statuses")
    return f"the last reconcile found {bots} and {statuses} that no webhook had reported"


def events_failing(context: AlarmContext) -> str | None:
    """Detect an endpoint that gets no events."""
    parts = [
        f"{one.name} {_how_it_fails(one)}"
        for one in context.overview.endpoints
        if one.is_off or one.seconds >= FAILING_SECONDS
    ]
    return ", ".join(parts) or None


def _how_it_fails(endpoint: TroubledEndpoint) -> str:
    if endpoint.is_off:
        return f"is turned off ({endpoint.reason})"
    return f"has failed for {duration(endpoint.seconds)} ({endpoint.reason})"


def will_record_without_bot(context: AlarmContext) -> str | None:
    """Detect meetings that will be recorded but have no bot."""
    count = context.overview.findings.get("will_record_without_bot", 0)
    return f"{plural(count, 'meeting')} to be recorded without a bot" if count else None


def meetings_missed(context: AlarmContext) -> str | None:
    """Detect meetings that were found missed in the last day, and not recorded since."""
    missed = MissedMeeting
    some = (
        select(missed.reason)
        .where(missed.found_at > db_now(-DAY.total_seconds()), missed.resolved_at.is_(None))
        .limit(MOST_MISSED)
        .subquery()
    )
    counted = select(some.c.reason, func.count().label("n")).group_by(some.c.reason)
    reasons = {row.reason: row.n for row in context.connection.execute(counted)}
    if not reasons:
        return None
    total, words = sum(reasons.values()), sorted(reasons.items())
    each = ", ".join(f"{count} {reason}" for reason, count in words)
    were = "was" if total == 1 else "were"
    return f"{plural(total, 'meeting')} {were} not recorded in the last day ({each})"
