"""What each alarm looks at: each check returns what is seen, or None where all is well."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, text

from models.core.humanize import duration, plural
from models.queries.service_status import (
    WORKER_IS_AWAY_AFTER,
    HourlyCountRow,
    Overview,
    hourly_counts_since,
)
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link

# Longer than a weekend, and a day before Recall gives an endpoint up: whatever is usual, somebody
# has to look now.
LATEST_WARNING = timedelta(days=4)
SHORTEST_SILENCE = timedelta(hours=2)
WEEK = timedelta(days=7)
EXPECTED_AT_LEAST = 5
REFUSED_AT_LEAST = 5
# The first window that holds enough tells: a busy service in two hours, a quiet one in a day.
REFUSED_HOURS = (2, 24)
MOST_OVERDUE = 100
STALLED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Now:
    """What a check looks at: how the service stands, and the database for what is not in that."""

    connection: Connection
    found: Overview


def all_refused(now: Now) -> str | None:
    """Look for a window in which every request was refused."""
    for hours in REFUSED_HOURS:
        recent = now.found.hours[-hours:]
        # A single signed one proves the secret and the clock: the others are strangers.
        if any(sum(hour.deliveries.values()) for hour in recent):
            return None
        reasons: Counter[str] = Counter()
        for hour in recent:
            reasons.update(hour.rejections)
        if reasons.total() >= REFUSED_AT_LEAST:
            counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
            return f"all {reasons.total()} requests in the last {hours} h were rejected ({counts})"
    return None


def silence(now: Now) -> str | None:
    """Look for webhooks that should have come."""
    connection, found = now.connection, now.found
    last = found.last_delivery_at
    if last is None or found.at - last < SHORTEST_SILENCE:
        return None
    # Compared with a week ago, because nights and weekends are silent by themselves.
    weeks = hourly_counts_since(connection, found.at - WEEK - LATEST_WARNING)
    expected = _expected(weeks, last - WEEK, found.at - WEEK)
    overdue = _overdue(connection, last, found.at - SHORTEST_SILENCE)
    signs = [f"no webhook for {duration((found.at - last).total_seconds())}"]
    if expected >= EXPECTED_AT_LEAST:
        signs.append(f"compared with {expected} in the same period a week ago")
    if overdue:
        signs.append(f"{plural(overdue, 'bot')} did not report the end of a meeting that is over")
    if len(signs) == 1 and found.at - last < LATEST_WARNING:
        return None
    return ", ".join(signs)


def _expected(weeks: Sequence[HourlyCountRow], start: datetime, end: datetime) -> int:
    # Whole hours alone: half of the last webhook's own hour was not silent.
    hour = timedelta(hours=1)
    counted = (row for row in weeks if row.name == "delivery")
    return sum(row.count for row in counted if start <= row.hour and row.hour + hour <= end)


def _overdue(connection: Connection, last: datetime, until: datetime) -> int:
    meeting = CalendarMeeting
    # One look-up a bot: they are few, and links are not.
    latest = (
        select(func.max(meeting.end_time))
        .join(Link, Link.meeting_id == meeting.id)
        .where(Link.bot_id == Bot.id, meeting.end_time < until)
        .scalar_subquery()
    )
    some = (
        select(Bot.id)
        .where(text(Bot.IS_LIVE))
        # First heard of when it joins, or a little before: further back than meetings reach.
        .where(Bot.first_seen_at >= last - WEEK, Bot.first_seen_at < until, latest >= last)
        .limit(MOST_OVERDUE)
    )
    return connection.scalar(select(func.count()).select_from(some.subquery())) or 0


def circuit_open(now: Now) -> str | None:
    """Look whether Recall refuses the whole workspace."""
    circuit = now.found.circuit
    if not circuit.open_for:
        return None
    wait = duration(circuit.open_for)
    return f"calls are paused ({circuit.reason}); next attempt in {wait}"


def no_worker(now: Now) -> str | None:
    """Look for a worker that is alive."""
    if any(worker.seen_seconds < WORKER_IS_AWAY_AFTER for worker in now.found.workers):
        return None
    return "no worker has reported for two minutes"


def stalled(now: Now) -> str | None:
    """Look for work that nobody does."""
    backlog = now.found.backlog
    oldest = max(backlog.oldest_unapplied_seconds or 0, backlog.oldest_due_seconds or 0)
    # A circuit that is open explains it: one cause, one alarm.
    if oldest < STALLED_SECONDS or now.found.circuit.open_for:
        return None
    return f"the oldest item has been waiting for {duration(oldest)}"


def webhooks_missed(now: Now) -> str | None:
    """Look at what the last reconcile found."""
    last = now.found.reconcile
    if last is None or not (last.bots_missed or last.statuses_missed):
        return None
    bots = plural(last.bots_missed, "bot")
    statuses = plural(last.statuses_missed, "status", "statuses")
    return f"the last reconcile found {bots} and {statuses} that no webhook had reported"


def will_record_without_bot(now: Now) -> str | None:
    """Look at what the calendars' sweep found."""
    count = now.found.findings.get("will_record_without_bot", 0)
    return f"{plural(count, 'meeting')} to be recorded without a bot" if count else None
