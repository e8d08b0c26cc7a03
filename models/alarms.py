"""What should worry an operator, each with what to do: silence, refusals, stalls."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, text

from models.bot import Bot
from models.calendar import CalendarMeeting
from models.link import Link
from models.overview import WORKER_IS_AWAY_AFTER, Overview, TallyRow, tallies_since
from models.why import in_words

# Recall disables an endpoint after five days of nothing but failures
# (https://docs.recall.ai/docs/bot-status-change-events).
DISABLE_DAYS = 5
# Longer than a weekend, and a day before that: whatever is usual, somebody has to look now.
LATEST_WARNING = timedelta(days=4)
SHORTEST_SILENCE = timedelta(hours=2)
WEEK = timedelta(days=7)
EXPECTED_AT_LEAST = 5
REFUSED_AT_LEAST = 5
# The first window that holds enough tells: a busy service in two hours, a quiet one in a day.
REFUSED_HOURS = (2, 24)
MOST_OVERDUE = 100
STALLED_SECONDS = 300.0
NAMES = ("all_refused", "silence", "circuit_open", "no_worker", "stalled")


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that is wrong: its name for metrics, what is seen, what to do."""

    name: str
    text: str
    remedy: str


def alarms(connection: Connection, found: Overview) -> list[Alarm]:
    """Return what is wrong now, the worst first."""
    weeks = tallies_since(connection, found.at - WEEK - LATEST_WARNING)
    checks = (
        _all_refused(found),
        _silence(connection, found, weeks),
        _circuit(found),
        _no_worker(found),
        _stalled(found),
        _missed(found),
        _unrecorded(found),
    )
    return [alarm for alarm in checks if alarm is not None]


def _all_refused(found: Overview) -> Alarm | None:
    for hours in REFUSED_HOURS:
        recent = found.hours[-hours:]
        # A single signed one proves the secret and the clock: the others are strangers.
        if any(sum(hour.deliveries.values()) for hour in recent):
            return None
        reasons: Counter[str] = Counter()
        for hour in recent:
            reasons.update(hour.rejections)
        if reasons.total() >= REFUSED_AT_LEAST:
            return _refused(reasons, hours)
    return None


def _refused(reasons: Counter[str], hours: int) -> Alarm:
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return Alarm(
        "all_refused",
        f"every one of {reasons.total()} requests in {hours} h was refused ({told})",
        "compare RECALL_WEBHOOK_SECRETS with Recall's dashboard, and the clock with the world's;"
        " then `recall-links reverify` takes in what was refused."
        f" Recall disables an endpoint after {DISABLE_DAYS} days of nothing but failures",
    )


def _silence(connection: Connection, found: Overview, weeks: Sequence[TallyRow]) -> Alarm | None:
    last = found.last_delivery_at
    if last is None or found.at - last < SHORTEST_SILENCE:
        return None
    # Compared with a week ago, because nights and weekends are silent by themselves.
    expected = _expected(weeks, last - WEEK, found.at - WEEK)
    overdue = _overdue(connection, last, found.at - SHORTEST_SILENCE)
    signs = []
    if expected >= EXPECTED_AT_LEAST:
        signs.append(f"where {expected} came in the same time a week ago")
    if overdue:
        signs.append(f"and {overdue} bots never told of their end, whose meetings are over")
    if not signs and found.at - last < LATEST_WARNING:
        return None
    words = f"no webhook for {in_words((found.at - last).total_seconds())}"
    return Alarm(
        "silence",
        ", ".join([words, *signs]),
        "look at the endpoint in Recall's dashboard: after"
        f" {DISABLE_DAYS} days of failures it is disabled and must be enabled again by hand",
    )


def _expected(weeks: Sequence[TallyRow], start: datetime, end: datetime) -> int:
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


def _circuit(found: Overview) -> Alarm | None:
    if not found.circuit.open_for:
        return None
    wait = in_words(found.circuit.open_for)
    return Alarm(
        "circuit_open",
        f"Recall refuses the whole workspace ({found.circuit.reason}); the next try is in {wait}",
        "check RECALL_API_KEY, RECALL_REGION and the account's credit; `recall-links doctor` helps",
    )


def _no_worker(found: Overview) -> Alarm | None:
    if any(worker.seen_seconds < WORKER_IS_AWAY_AFTER for worker in found.workers):
        return None
    return Alarm(
        "no_worker",
        "no worker has told of itself for two minutes",
        "start one: `python -m workers`, or scale the worker process up",
    )


def _stalled(found: Overview) -> Alarm | None:
    oldest = max(found.backlog.oldest_unapplied_seconds or 0, found.backlog.oldest_due_seconds or 0)
    if oldest < STALLED_SECONDS or found.circuit.open_for:
        return None
    return Alarm(
        "stalled",
        f"the oldest work has waited for {in_words(oldest)}",
        "see the workers' logs; more workers help unless the rate limit is the bound",
    )


def _missed(found: Overview) -> Alarm | None:
    last = found.reconcile
    if last is None or not (last.bots_missed or last.statuses_missed):
        return None
    return Alarm(
        "webhooks_missed",
        f"the last reconcile found {last.bots_missed} bots that no webhook had told of,"
        f" and {last.statuses_missed} statuses that had not come",
        "look at the endpoint's failures and event types in Recall's dashboard;"
        " all is filled in, and a reconcile that finds nothing more ends this",
    )


def _unrecorded(found: Overview) -> Alarm | None:
    count = found.findings.get("will_record_without_bot", 0)
    if not count:
        return None
    return Alarm(
        "will_record_without_bot",
        f"{count} meetings are to be recorded, and no bot is there for them",
        "`recall-links calendar check EXTERNAL_ID` lists them; ask Recall's support",
    )
