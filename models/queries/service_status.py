"""The state of the service: backlog, latency, circuit, quota and workers."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, text

from models.queries.calendars.findings import count_findings
from models.queries.circuit import Circuit, circuit_of, seconds_left
from models.queries.events.endpoints import TroubledEndpoint, troubled_endpoints
from models.queries.failures.failing import is_in_progress
from models.queries.reconcile import ReconcileSummary, last_reconcile
from models.tables.base import database_time
from models.tables.bot import Bot
from models.tables.delivery import Delivery
from models.tables.hourly_count import HourlyCount
from models.tables.rejection import Rejection
from models.tables.workspace_state import CIRCUIT, CLOSED, QUOTA, WORKER, WorkspaceState

# Counting stops here, because exact counts of large tables are slow.
MOST_COUNTED = 10_000
HOURS = 24
# A worker reports every 30 seconds.
WORKER_IS_AWAY_AFTER = 120.0

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Backlog:
    """Waiting work. Counts stop at 10,000; ages are in seconds."""

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
    """A worker that last reported `seen_seconds` ago."""

    name: str
    seen_seconds: float
    memory_mb: float | None


@dataclass(frozen=True, slots=True)
class Hour:
    """The counts of one hour, by label."""

    hour: datetime
    deliveries: dict[str, int] = field(default_factory=dict)
    links: dict[str, int] = field(default_factory=dict)
    rejections: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HourlyCountRow:
    """One counter of one hour."""

    name: str
    label: str
    hour: datetime
    count: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the service at one moment."""

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
    reconcile: ReconcileSummary | None
    findings: dict[str, int]
    endpoints: list[TroubledEndpoint]


def overview(connection: Connection) -> Overview:
    """Read the current state of the service."""
    now = database_time(connection)
    state = select(WorkspaceState.key, WorkspaceState.value, WorkspaceState.updated_at)
    facts = {row.key: row for row in connection.execute(state)}
    counts = hourly_counts_since(connection, now - timedelta(hours=HOURS))
    return Overview(
        at=now,
        backlog=_backlog(connection, now),
        circuit=circuit_of(facts.get(CIRCUIT), now),
        closed_buckets=_closed(facts, now),
        quota=_quota(facts[QUOTA].value) if QUOTA in facts else {},
        workers=_workers(facts, now),
        last_delivery_at=_latest(connection, Delivery.received_at),
        last_rejection_at=_latest(connection, Rejection.received_at),
        latency=_sum(counts, "receive_to_link"),
        calls=_sum(counts, "call"),
        hours=_hours(counts, now),
        reconcile=last_reconcile(connection),
        findings=count_findings(connection),
        endpoints=troubled_endpoints(facts, now),
    )


def hourly_counts_since(connection: Connection, since: datetime) -> list[HourlyCountRow]:
    """Read the counters of all hours that began at or after a time."""
    query = select(HourlyCount.name, HourlyCount.label, HourlyCount.hour, HourlyCount.count).where(
        HourlyCount.hour >= since
    )
    return [HourlyCountRow(*row) for row in connection.execute(query)]


def counts_of_hour(connection: Connection, hour: datetime) -> list[HourlyCountRow]:
    """Read the counters of one hour; the hour TOTAL has the counts since installation."""
    query = select(HourlyCount.name, HourlyCount.label, HourlyCount.hour, HourlyCount.count).where(
        HourlyCount.hour == hour
    )
    return [HourlyCountRow(*row) for row in connection.execute(query)]


def _backlog(connection: Connection, now: datetime) -> Backlog:
    def counted(condition: ColumnElement[bool]) -> int:
        # The limit in the subquery stops the counting early.
        some = select(text("1")).select_from(Bot).where(condition).limit(MOST_COUNTED)
        return connection.scalar(select(func.count()).select_from(some.subquery())) or 0

    def in_state(state: str) -> int:
        return counted(Bot.link_state == state)

    unapplied = select(text("1")).select_from(Delivery).where(text(Delivery.IS_UNAPPLIED))
    oldest = select(Delivery.received_at).where(text(Delivery.IS_UNAPPLIED))
    oldest_due = select(Bot.due_at).where(Bot.due_at <= now).order_by(Bot.due_at)
    # Without the order of the partial index, SQLite would scan all deliveries.
    some = unapplied.order_by(Delivery.received_at).limit(MOST_COUNTED)
    waiting = select(func.count()).select_from(some.subquery())
    return Backlog(
        unapplied=connection.scalar(waiting) or 0,
        oldest_unapplied_seconds=_age(
            connection.scalar(oldest.order_by(Delivery.received_at).limit(1)), now
        ),
        due=counted(Bot.due_at <= now),
        oldest_due_seconds=_age(connection.scalar(oldest_due.limit(1)), now),
        leased=counted(is_in_progress()),
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


def _quota(stored: Mapping[str, Any]) -> dict[str, Any]:
    # A bucket with a missing number is left out, so that the page still renders.
    found = {
        name: {key: _number(bucket.get(key)) for key in ("left", "per_minute")}
        for name, bucket in stored.items()
        if isinstance(bucket, dict)
    }
    return {name: bucket for name, bucket in found.items() if None not in bucket.values()}


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
    # The most recently seen workers first.
    return sorted(found, key=lambda worker: worker.seen_seconds)


def _sum(counts: Iterable[HourlyCountRow], name: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for row in counts:
        if row.name == name:
            total[row.label] += row.count
    return dict(total)


def _hours(counts: Iterable[HourlyCountRow], now: datetime) -> list[Hour]:
    this = now.replace(minute=0, second=0, microsecond=0)
    # The chart also needs the hours without any counts.
    hours = {this - timedelta(hours=n): Hour(this - timedelta(hours=n)) for n in range(HOURS)}
    for row in counts:
        if (hour := hours.get(row.hour)) is None:
            continue
        kinds = {"delivery": hour.deliveries, "link": hour.links, "rejection": hour.rejections}
        if (kind := kinds.get(row.name)) is not None:
            kind[row.label] = row.count
    return [hours[moment] for moment in sorted(hours)]
