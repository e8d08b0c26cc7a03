"""GET /metrics: Prometheus text. Read from SQL, because workers are other processes."""

from collections.abc import Iterable

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from models.queries.alarms.alerts import ALARMS, Alarm, alarms
from models.queries.reconcile import ReconcileSummary
from models.queries.service_status import (
    WORKER_IS_AWAY_AFTER,
    HourlyCountRow,
    Overview,
    counts_of_hour,
    overview,
)
from models.tables.hourly_count import BOT_END, LATENCY_BUCKETS, TOTAL
from webhook.services.reader import Reader
from webhook.web.auth import Access

PREFIX = "recall_links_"


class SqlCollector(Collector):
    """Turns one read of the database into metrics."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def collect(self) -> Iterable[Metric]:
        """Read once, and yield every metric."""
        found, wrong, totals = self._reader.read(_look)
        yield from _gauges(found)
        yield from _workspace(found)
        yield from _workers(found)
        yield from _alarms(wrong)
        yield from _counters(totals)
        yield _latency(totals)

    def describe(self) -> Iterable[Metric]:
        """Describe nothing in advance: registering must not query the database."""
        return []


def blueprint(reader: Reader, access: Access) -> Blueprint:
    """Return the route; it requires a read token."""
    routes = Blueprint("metrics", __name__)
    routes.before_request(access.guard)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SqlCollector(reader))

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return routes


def _look(connection: Connection) -> tuple[Overview, list[Alarm], list[HourlyCountRow]]:
    found = overview(connection)
    return found, alarms(connection, found), counts_of_hour(connection, TOTAL)


def _gauges(found: Overview) -> Iterable[Metric]:
    backlog = found.backlog
    values: dict[str, tuple[float, str]] = {
        "deliveries_unapplied": (
            backlog.unapplied,
            "Webhooks not processed yet, counted up to 10,000",
        ),
        "deliveries_unapplied_oldest_seconds": (
            backlog.oldest_unapplied_seconds or 0,
            "Age of the oldest webhook not processed yet",
        ),
        "bots_due": (backlog.due, "Bots due to be linked, counted up to 10,000"),
        "bots_due_oldest_seconds": (
            backlog.oldest_due_seconds or 0,
            "How long the oldest bot has been due",
        ),
        "bots_leased": (backlog.leased, "Bots that a worker is processing"),
        "bots_pending": (backlog.pending, "Bots not looked up yet, counted up to 10,000"),
        "bots_failed": (backlog.failed, "Bots whose linking failed, counted up to 10,000"),
        "bots_partial": (
            backlog.partial,
            "Bots with meetings still missing, counted up to 10,000",
        ),
        "circuit_open": (int(found.circuit.open_for > 0), "Whether Recall refuses the workspace"),
        "workers": (
            sum(worker.seen_seconds < WORKER_IS_AWAY_AFTER for worker in found.workers),
            "Workers that reported within two minutes",
        ),
        "last_delivery_timestamp_seconds": (
            found.last_delivery_at.timestamp() if found.last_delivery_at else 0,
            "When the last signed webhook arrived",
        ),
    }
    if found.reconcile is not None:
        values |= _reconcile_gauges(found.reconcile)
    for name, (value, words) in values.items():
        yield GaugeMetricFamily(PREFIX + name, words, value=value)


def _reconcile_gauges(last: ReconcileSummary) -> dict[str, tuple[float, str]]:
    return {
        "reconcile_bots_missed": (last.bots_missed, "Bots that only the last reconcile found"),
        "reconcile_statuses_missed": (
            last.statuses_missed,
            "Statuses that only the last reconcile found",
        ),
        "reconcile_finished_timestamp_seconds": (
            last.finished_at.timestamp(),
            "When the last reconcile finished whose result is believed",
        ),
    }


def _workspace(found: Overview) -> Iterable[Metric]:
    left = GaugeMetricFamily(
        PREFIX + "quota_left", "Calls that could go to Recall at once", labels=["bucket"]
    )
    for bucket, quota in found.quota.items():
        left.add_metric([bucket], quota["left"])
    yield left
    closed = GaugeMetricFamily(
        PREFIX + "bucket_closed_seconds",
        "Seconds until calls are allowed again after a 429",
        labels=["bucket"],
    )
    for bucket, seconds in found.closed_buckets.items():
        closed.add_metric([bucket], seconds)
    yield closed
    findings = GaugeMetricFamily(
        PREFIX + "calendar_findings",
        "Problems found in calendars, counted up to 500",
        labels=["kind"],
    )
    for kind, count in found.findings.items():
        findings.add_metric([kind], count)
    yield findings


def _workers(found: Overview) -> Iterable[Metric]:
    seen = GaugeMetricFamily(
        PREFIX + "worker_seen_seconds", "Seconds since the worker last reported", labels=["worker"]
    )
    memory = GaugeMetricFamily(
        PREFIX + "worker_peak_memory_bytes", "Most memory a poller used", labels=["worker"]
    )
    for worker in found.workers:
        seen.add_metric([worker.name], worker.seen_seconds)
        memory.add_metric([worker.name], (worker.memory_mb or 0) * 1024**2)
    yield from (seen, memory)


def _alarms(wrong: Iterable[Alarm]) -> Iterable[Metric]:
    metric = GaugeMetricFamily(PREFIX + "alarm", "1 while the alarm is active", labels=["name"])
    active = {alarm.name for alarm in wrong}
    # Always every name: a series that comes and goes is hard to alert on.
    for kind in ALARMS:
        metric.add_metric([kind.name], int(kind.name in active))
    yield metric


_COUNTERS = {
    "delivery": ("deliveries", "Signed webhooks by outcome", ["outcome"]),
    "rejection": ("rejections", "Rejected requests by reason", ["reason"]),
    "link": ("link_attempts", "Attempts to link a bot, by outcome", ["outcome"]),
    "missed": ("missed", "Bots and statuses that only reconcile found", ["what"]),
    BOT_END: ("bot_ends", "Bots by how they ended, and why", ["outcome", "sub_code"]),
    "call": ("api_calls", "Calls to Recall, by endpoint and status", ["endpoint", "status"]),
}


def _counters(totals: Iterable[HourlyCountRow]) -> Iterable[Metric]:
    families = {
        name: CounterMetricFamily(PREFIX + metric, words, labels=labels)
        for name, (metric, words, labels) in _COUNTERS.items()
    }
    for row in totals:
        if row.name in families:
            # A call's label is its endpoint and its status, an end's is its kind and sub code.
            has_two = row.name in ("call", BOT_END)
            labels = row.label.rsplit(" ", 1) if has_two else [row.label]
            families[row.name].add_metric(labels, row.count)
    return families.values()


def _latency(totals: Iterable[HourlyCountRow]) -> Metric:
    counts = {row.label: row.count for row in totals if row.name == "receive_to_link"}
    milliseconds = sum(row.count for row in totals if row.name == "receive_to_link_ms")
    buckets, total = [], 0
    for bound in (*map(str, LATENCY_BUCKETS), "+Inf"):
        total += counts.get(bound, 0)
        buckets.append((bound, total))
    return HistogramMetricFamily(
        PREFIX + "receive_to_link_seconds",
        "From a bot's first webhook to its first link",
        buckets=buckets,
        sum_value=milliseconds / 1000,
    )
