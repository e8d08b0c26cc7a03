"""GET /metrics: what Prometheus reads of it, by its own parser."""

from collections.abc import Iterator

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from models.queries.alarms.alerts import ALARMS
from models.tables.base import db_now
from models.tables.hourly_count import LATENCY_BUCKETS
from tests.conftest import MakeContext, MakeSettings
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.models.queries.alarms.test_alerts import an_open_circuit
from tests.support.fakes import BOT
from tests.support.ids import new_id
from tests.support.rows import add_bot, add_delivery
from webhook.app import create_app, resources_of
from webhook.web.auth import BEARER
from workers.db.counters import add_hourly_counts
from workers.linking.drain import Drain
from workers.processes.heartbeat import Heartbeat
from workers.shutdown import Stop

TOKEN = "read-token-0123456789"
Samples = dict[tuple[str, str], float]


@pytest.fixture
def app(make_settings: MakeSettings) -> Iterator[Flask]:
    """The application, with a read token."""
    app = create_app(make_settings(OPS_READ_TOKENS=TOKEN))
    yield app
    resources_of(app).close()


def scrape(app: Flask) -> Samples:
    """Every sample, by its name without our prefix and its labels' values."""
    response = app.test_client().get("/metrics", headers={"Authorization": BEARER + TOKEN})
    assert response.status_code == 200
    assert response.content_type.startswith("text/plain; version=")
    families = list(text_string_to_metric_families(response.text))
    assert all(family.documentation and family.type != "unknown" for family in families)
    return {
        (sample.name.removeprefix("recall_links_"), " ".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_an_empty_service_has_every_gauge(app: Flask) -> None:
    """A dashboard that is made on the first day has its series already."""
    found = scrape(app)
    assert found["bots_due", ""] == 0
    assert found["bots_due_oldest_seconds", ""] == 0
    assert found["circuit_open", ""] == 0
    assert found["workers", ""] == 0
    assert found["receive_to_link_seconds_count", ""] == 0
    told = {name: value for (metric, name), value in found.items() if metric == "alarm"}
    assert told == dict.fromkeys([kind.name for kind in ALARMS], 0) | {"no_worker": 1}


def test_what_waits_is_counted_with_its_age(app: Flask, engine: Engine) -> None:
    """Unapplied deliveries and due bots, and how old the oldest of each is."""
    add_delivery(engine, BOT, "done", received_at=db_now(-600))
    add_bot(engine, BOT, due_at=db_now(-400))
    add_bot(engine, new_id(), due_at=db_now(-30), lease_until=db_now(60))
    add_bot(engine, new_id(), due_at=None, link_state="failed")
    found = scrape(app)
    assert (found["deliveries_unapplied", ""], found["bots_due", ""]) == (1, 2)
    assert (found["bots_leased", ""], found["bots_failed", ""]) == (1, 1)
    assert 599 < found["deliveries_unapplied_oldest_seconds", ""] < 700
    assert 399 < found["bots_due_oldest_seconds", ""] < 500
    assert found["alarm", "stalled"] == 1


def test_counts_are_told_by_outcome_reason_endpoint_and_status(app: Flask, engine: Engine) -> None:
    """From the totals, so that they only ever rise."""
    with engine.begin() as connection:
        counts = {
            ("delivery", "accepted"): 7, ("delivery", "duplicate"): 2,
            ("rejection", "stale_timestamp"): 3, ("link", "linked"): 4,
            ("call", "bot/{id} 200"): 5, ("call", "bot/{id} ConnectTimeout"): 1,
        }  # fmt: skip
        add_hourly_counts(connection, counts)
        add_hourly_counts(connection, counts)
    found = scrape(app)
    assert found["deliveries_total", "accepted"] == 14
    assert found["deliveries_total", "duplicate"] == 4
    assert found["rejections_total", "stale_timestamp"] == 6
    assert found["link_attempts_total", "linked"] == 8
    assert found["api_calls_total", "bot/{id} 200"] == 10
    assert found["api_calls_total", "bot/{id} ConnectTimeout"] == 2


def test_the_histogram_is_one(app: Flask, engine: Engine) -> None:
    """Buckets that only rise, up to the count; the sum in seconds."""
    with engine.begin() as connection:
        counts = {("receive_to_link", "0.5"): 3, ("receive_to_link", "60"): 1,
                  ("receive_to_link", "+Inf"): 1, ("receive_to_link_ms", ""): 61_500}  # fmt: skip
        add_hourly_counts(connection, counts)
    found = scrape(app)
    name = "receive_to_link_seconds"
    bounds = [str(bound) for bound in LATENCY_BUCKETS]
    buckets = {float(le): count for (one, le), count in found.items() if one == f"{name}_bucket"}
    assert len(buckets) == len(bounds) + 1
    assert [buckets[key] for key in sorted(buckets)] == sorted(buckets.values())
    assert (buckets[0.25], buckets[0.5], buckets[60.0], buckets[900.0]) == (0, 3, 4, 4)
    assert found[f"{name}_count", ""] == 5
    assert found[f"{name}_sum", ""] == 61.5


def test_the_workspace_and_its_workers_are_told(
    app: Flask, engine: Engine, make_context: MakeContext, redis_url: str
) -> None:
    """Circuit, quota left and workers come from SQL: they are other processes' matters."""
    Heartbeat(make_context(REDIS_URL=redis_url, RECALL_RATE_SHARE=100)).beat_when_due()
    an_open_circuit(engine, 100)
    found = scrape(app)
    assert found["circuit_open", ""] == found["alarm", "circuit_open"] == 1
    assert found["workers", ""] == 1
    assert found["quota_left", "bot_get"] > 0
    assert any(
        name == "worker_peak_memory_bytes" and value > 1e7 for (name, _), value in found.items()
    )


def test_a_drain_is_seen_in_the_metrics(
    app: Flask, engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """From the webhook to the link: calls by endpoint and status, and how long it took."""
    bots = recall.build.populate(5)
    recall.faults.add(Fault(path="bot/{id}", times=1, status=503))
    for bot in bots:
        add_delivery(engine, bot.id, "joining_call")
    Drain(make_context(), Stop()).run()
    found = scrape(app)
    assert found["api_calls_total", "bot/{id} 503"] == 1
    assert found["api_calls_total", "bot/{id} 200"] == 4
    assert found["receive_to_link_seconds_count", ""] == 4
    assert 0 < found["receive_to_link_seconds_sum", ""] < 60
