"""Heartbeats in the database, and the counts that metrics read."""

from collections import Counter

from sqlalchemy import Engine, update

from models.queries.service_status import overview
from models.tables.base import db_now
from models.tables.hourly_count import TOTAL, HourlyCount
from models.tables.workspace_state import WorkspaceState
from tests.conftest import MakeContext
from tests.support.rows import rows
from workers.db.counters import add_hourly_counts
from workers.processes.heartbeat import Heartbeat, peak_memory_mb


def test_a_worker_reports_itself_and_the_quota_left(
    make_context: MakeContext, engine: Engine, redis_url: str
) -> None:
    """The web process reads both: it cannot look into a worker."""
    Heartbeat(make_context(RECALL_RATE_SHARE=100, REDIS_URL=redis_url)).beat_when_due()
    with engine.connect() as connection:
        found = overview(connection)
    (worker,) = found.workers
    assert worker.seen_seconds < 60
    assert 10 < (worker.memory_mb or 0) < 2000
    assert set(found.quota) == {"bot_get", "authenticate"}
    assert all(0 < quota["left"] <= quota["per_minute"] for quota in found.quota.values())


def test_a_beat_is_written_twice_a_minute_at_most(
    make_context: MakeContext, engine: Engine
) -> None:
    """A sweep comes every five seconds, or faster."""
    heartbeat = Heartbeat(make_context())
    heartbeat.beat_when_due()
    first = [row.updated_at for row in rows(engine, WorkspaceState)]
    heartbeat.beat_when_due()
    assert [row.updated_at for row in rows(engine, WorkspaceState)] == first


def test_a_worker_of_yesterday_is_deleted(make_context: MakeContext, engine: Engine) -> None:
    """Dynos get a new name daily."""
    heartbeat = Heartbeat(make_context())
    with engine.begin() as connection:
        heartbeat.beat(connection)
        old = update(WorkspaceState).where(WorkspaceState.key.startswith("worker:"))
        connection.execute(old.values(key="worker:old:1", updated_at=db_now(-90_000)))
    with engine.begin() as connection:
        heartbeat.beat(connection)
    names = [row.key for row in rows(engine, WorkspaceState)]
    assert "worker:old:1" not in names
    assert any(name.startswith("worker:") for name in names)


def test_memory_is_reported_in_megabytes() -> None:
    """A Python with our packages takes some tens of them."""
    assert 10 < peak_memory_mb() < 4000


def test_counts_add_up_by_the_hour_and_in_all(engine: Engine) -> None:
    """The same name and label is one row an hour, and one for ever."""
    for count in (2, 3):
        with engine.begin() as connection:
            add_hourly_counts(
                connection, {("delivery", "accepted"): count, ("call", "bot/{id} 200"): 1}
            )
    found: Counter[tuple[str, bool]] = Counter()
    for row in rows(engine, HourlyCount):
        # Added up, since an hour may begin between the two transactions.
        found[row.name, row.hour == TOTAL] += row.count
    assert found == {
        ("delivery", True): 5,
        ("delivery", False): 5,
        ("call", True): 2,
        ("call", False): 2,
    }
    hours = {row.hour for row in rows(engine, HourlyCount)} - {TOTAL}
    assert all((hour.minute, hour.second, hour.microsecond) == (0, 0, 0) for hour in hours)


def test_no_count_is_no_row(engine: Engine) -> None:
    """An idle minute writes nothing."""
    with engine.begin() as connection:
        add_hourly_counts(connection, {})
    assert rows(engine, HourlyCount) == []
