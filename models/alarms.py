"""What should worry an operator, each with what to do: silence, refusals, stalls."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from models.overview import WORKER_IS_AWAY_AFTER, Overview, TallyRow, tallies_since
from models.why import in_words

# Recall disables an endpoint after five days of nothing but failures
# (https://docs.recall.ai/docs/bot-status-change-events).
DISABLE_DAYS = 5
WARN_DAYS = 2
SILENT_HOURS = 2
# A week back, the same hours: that is how many webhooks are to be expected.
EXPECTED_AT_LEAST = 5
REFUSED_AT_LEAST = 5
STALLED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that is wrong: its name for metrics, what is seen, what to do."""

    name: str
    text: str
    remedy: str


def alarms(connection: Connection, found: Overview) -> list[Alarm]:
    """Return what is wrong now, the worst first."""
    week = tallies_since(connection, found.at - timedelta(days=8))
    checks = (
        _all_refused(found),
        _silence(found, week),
        _circuit(found),
        _no_worker(found),
        _stalled(found),
        _missed(found),
        _unrecorded(found),
    )
    return [alarm for alarm in checks if alarm is not None]


def _all_refused(found: Overview) -> Alarm | None:
    recent = found.hours[-SILENT_HOURS:]
    refused = sum(sum(hour.rejections.values()) for hour in recent)
    if refused < REFUSED_AT_LEAST or any(sum(hour.deliveries.values()) for hour in recent):
        return None
    return Alarm(
        "all_refused",
        f"{refused} requests in {SILENT_HOURS} h, and not one was signed with a secret we know",
        "compare RECALL_WEBHOOK_SECRETS with Recall's dashboard and the clock with the world's;"
        " then `recall-links reverify` takes in what was refused",
    )


def _silence(found: Overview, week: Sequence[TallyRow]) -> Alarm | None:
    if found.last_delivery_at is None:
        return None
    silent = found.at - found.last_delivery_at
    expected = _expected(week, found.at)
    # Compared with a week ago, because nights and weekends are silent by themselves.
    is_odd = expected >= EXPECTED_AT_LEAST and silent >= timedelta(hours=SILENT_HOURS)
    if not is_odd and silent < timedelta(days=WARN_DAYS):
        return None
    text = f"no webhook for {in_words(silent.total_seconds())}"
    if is_odd:
        text += f", where {expected} came in the same {SILENT_HOURS} h a week ago"
    return Alarm(
        "silence",
        text,
        "look at the endpoint in Recall's dashboard: after"
        f" {DISABLE_DAYS} days of failures it is disabled and must be enabled again by hand",
    )


def _expected(week: Sequence[TallyRow], now: datetime) -> int:
    end = (now - timedelta(days=7)).replace(minute=0, second=0, microsecond=0)
    start = end - timedelta(hours=SILENT_HOURS)
    return sum(row.count for row in week if row.name == "delivery" and start <= row.hour < end)


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
