"""How the service stands: backlog, latency, circuit, quota, workers; a few cheap reads."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, text

from models.queries.circuit import Circuit, circuit_of, seconds_left
from models.queries.findings import count_findings
from models.queries.reconcile import ReconcileSummary, last_reconcile
from models.tables.base import database_time
from models.tables.bot import Bot
from models.tables.delivery import Delivery
from models.tables.hourly_count import HourlyCount
from models.tables.rejection import Rejection
from models.tables.workspace_state import CIRCUIT, CLOSED, QUOTA, WORKER, WorkspaceState

# Counting stops here: whether ten thousand or a million wait, somebody has to look.
MOST_COUNTED = 10_000
HOURS = 24
# A worker tells of itself twice a minute.
WORKER_IS_AWAY_AFTER = 120.0

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits. Counts end at 10,000; ages in seconds."""

    unapplied: int
    oldest_unapplied_seconds: float | None
    due: int
    oldest_due_seconds: float | None
    leased: int
    pending: int
    partial: int
    failed: int


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that told of itself; `seen_seconds` ago."""

    name: str
    seen_seconds: float
    memory_mb: float | None


@dataclass(frozen=True, slots=True)
class Hour:
    """What happened in one hour, by label."""

    hour: datetime
    deliveries: dict[str, int] = field(default_factory=dict)
    links: dict[str, int] = field(default_factory=dict)
    rejections: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HourlyCountRow:
    """How often something happened in one hour."""

    name: str
    label: str
    hour: datetime
    count: int


@dataclass(frozen=True, slots=True)
class Overview:
    """How the service stands at one moment."""

    at: datetime
    backlog: Backlog
    circuit: Circuit
    closed_buckets: dict[str, float]
    quota: dict[str, Any]
    workers: list[Worker]
    last_delivery_at: datetime | None
    last_rejection_at: datetime | None
    latency: dict[str, int]
    calls: dict[str, int]
    hours: list[Hour]
    # What the last reconcile found that no webhook had told, and the calendars' findings by kind.
    reconcile: ReconcileSummary | None
    findings: dict[str, int]


def overview(connection: Connection) -> Overview:
    """Read how the service stands now."""
    now = database_time(connection)
    state = select(WorkspaceState.key, WorkspaceState.value, WorkspaceState.updated_at)
    facts = {row.key: row for row in connection.execute(state)}
    tallies = hourly_counts_since(connection, now - timedelta(hours=HOURS))
    return Overview(
        at=now,
        backlog=_backlog(connection, now),
        circuit=circuit_of(facts.get(CIRCUIT), now),
        closed_buckets=_closed(facts, now),
        quota=_quota(facts[QUOTA].value) if QUOTA in facts else {},
        workers=_workers(facts, now),
        last_delivery_at=_latest(connection, Delivery.received_at),
        last_rejection_at=_latest(connection, Rejection.received_at),
        latency=_sum(tallies, "receive_to_link"),
        calls=_sum(tallies, "call"),
        hours=_hours(tallies, now),
        reconcile=last_reconcile(connection),
        findings=count_findings(connection),
    )


def hourly_counts_since(connection: Connection, since: datetime) -> list[HourlyCountRow]:
    """Read the counts of each hour that began at or after a time."""
    kept = select(HourlyCount.name, HourlyCount.label, HourlyCount.hour, HourlyCount.count).where(
        HourlyCount.hour >= since
    )
    return [HourlyCountRow(*row) for row in connection.execute(kept)]


def counts_of_hour(connection: Connection, hour: datetime) -> list[HourlyCountRow]:
    """Read the counts of one hour; those of TOTAL count everything there ever was."""
    kept = select(HourlyCount.name, HourlyCount.label, HourlyCount.hour, HourlyCount.count).where(
        HourlyCount.hour == hour
    )
    return [HourlyCountRow(*row) for row in connection.execute(kept)]


def _backlog(connection: Connection, now: datetime) -> Backlog:
    def counted(condition: ColumnElement[bool]) -> int:
        # The limit is inside, so that counting stops there.
        some = select(text("1")).select_from(Bot).where(condition).limit(MOST_COUNTED)
        return connection.scalar(select(func.count()).select_from(some.subquery())) or 0

    def in_state(state: str) -> int:
        return counted(Bot.link_state == state)

    unapplied = select(text("1")).select_from(Delivery).where(text(Delivery.IS_UNAPPLIED))
    oldest = select(Delivery.received_at).where(text(Delivery.IS_UNAPPLIED))
    oldest_due = select(Bot.due_at).where(Bot.due_at <= now).order_by(Bot.due_at)
    # Ordered as the partial index is: SQLite would else count them by reading every delivery.
    some = unapplied.order_by(Delivery.received_at).limit(MOST_COUNTED)
    waiting = select(func.count()).select_from(some.subquery())
    return Backlog(
        unapplied=connection.scalar(waiting) or 0,
        oldest_unapplied_seconds=_age(
            connection.scalar(oldest.order_by(Delivery.received_at).limit(1)), now
        ),
        due=counted(Bot.due_at <= now),
        oldest_due_seconds=_age(connection.scalar(oldest_due.limit(1)), now),
        leased=counted((Bot.due_at <= now) & (Bot.lease_until > now)),
        pending=in_state("pending"),
        partial=in_state("partial"),
        failed=in_state("failed"),
    )


def _age(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, round((now - moment).total_seconds(), 3))


def _latest(connection: Connection, column: Any) -> datetime | None:
    found: datetime | None = connection.scalar(select(column).order_by(column.desc()).limit(1))
    return found


def _closed(facts: Facts, now: datetime) -> dict[str, float]:
    closed = {
        key.removeprefix(CLOSED): seconds_left(fact.value, fact.updated_at, now)
        for key, fact in facts.items()
        if key.startswith(CLOSED)
    }
    return {name: seconds for name, seconds in closed.items() if seconds > 0}


def _quota(noted: Mapping[str, Any]) -> dict[str, Any]:
    # A bucket that lacks one of its numbers is left out: a page must not fail for it.
    found = {
        name: {key: _number(told.get(key)) for key in ("left", "per_minute")}
        for name, told in noted.items()
        if isinstance(told, dict)
    }
    return {name: told for name, told in found.items() if None not in told.values()}


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return max(0.0, value)


def _workers(facts: Facts, now: datetime) -> list[Worker]:
    found = [
        Worker(
            key.removeprefix(WORKER),
            (now - fact.updated_at).total_seconds(),
            _number(fact.value.get("memory_mb")),
        )
        for key, fact in facts.items()
        if key.startswith(WORKER)
    ]
    # Whoever is alive comes first: the list is read from its top.
    return sorted(found, key=lambda worker: worker.seen_seconds)


def _sum(tallies: Iterable[HourlyCountRow], name: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for tally in tallies:
        if tally.name == name:
            total[tally.label] += tally.count
    return dict(total)


def _hours(tallies: Iterable[HourlyCountRow], now: datetime) -> list[Hour]:
    this = now.replace(minute=0, second=0, microsecond=0)
    # Hours in which nothing happened are what a chart is looked at for.
    hours = {this - timedelta(hours=n): Hour(this - timedelta(hours=n)) for n in range(HOURS)}
    for tally in tallies:
        if (hour := hours.get(tally.hour)) is None:
            continue
        kinds = {"delivery": hour.deliveries, "link": hour.links, "rejection": hour.rejections}
        if (counts := kinds.get(tally.name)) is not None:
            counts[tally.label] = tally.count
    return [hours[moment] for moment in sorted(hours)]
