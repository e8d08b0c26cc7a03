"""State that workers share in the database: the longest wait counts, and none lasts for ever."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select

from models.queries.circuit import LONGEST_WAIT
from models.queries.service_status import overview
from models.tables.base import db_now
from models.tables.workspace_state import CALENDAR_SWEEP, CIRCUIT, CLOSED, WorkspaceState
from webhook.monitoring.metrics import SqlCollector
from webhook.services.reader import Reader
from workers.calendars import schedule
from workers.calendars.schedule import claim_nightly_run
from workers.recall_api.circuit import close_bucket, read_workspace

FAR = datetime(9999, 12, 31, tzinfo=UTC).isoformat()
NO_TIMES: list[object] = [
    FAR,
    "soon",
    "",
    None,
    7,
    9e18,
    "nan",
    "9999-12-31T23:59:59-08:00",
    [],
    {},
]
NO_NUMBERS: list[object] = ["many", None, [], {}, True, -7, 9e18]


def note(engine: Engine, key: str, value: dict[str, Any]) -> None:
    """Write a value that none of our code would."""
    with engine.begin() as connection:
        row = {"key": key, "value": value, "updated_at": db_now()}
        connection.execute(delete(WorkspaceState).where(WorkspaceState.key == key))
        connection.execute(insert(WorkspaceState).values(**row))


def closed_for(engine: Engine) -> float:
    """For how long the bucket of bots is closed, by the database."""
    with engine.begin() as connection:
        return read_workspace(connection).closed.get("bot_get", 0.0)


def test_a_second_429_never_opens_earlier_what_the_first_closed(engine: Engine) -> None:
    """Whichever of the two comes later, in one transaction or in two."""
    for first, second in ((40.0, 5.0), (50.0, 60.0), (7.0, 7.0)):
        for seconds in (first, second):
            with engine.begin() as connection:
                close_bucket(connection, "bot_get", seconds)
        longest = max(closed_for(engine), first, second)
        assert longest - 3 < closed_for(engine) <= longest


def test_two_workers_that_close_a_bucket_at_once_leave_the_longest(engine: Engine) -> None:
    """Neither may overwrite what it has not seen."""
    start = threading.Barrier(2)

    def close(seconds: float) -> None:
        start.wait()
        with engine.begin() as connection:
            close_bucket(connection, "bot_get", seconds)

    threads = [threading.Thread(target=close, args=(seconds,)) for seconds in (60.0, 5.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 55 < closed_for(engine) <= 60


def test_no_note_holds_the_workspace_for_ever(engine: Engine) -> None:
    """Whatever it says: cut to the longest wait from when it was written, or over."""
    for until in NO_TIMES:
        note(engine, CIRCUIT, {"until": until, "reason": "http_401"})
        note(engine, f"{CLOSED}bot_get", {"until": until})
        with engine.begin() as connection:
            workspace, told = read_workspace(connection), overview(connection)
        assert 0 <= workspace.open_for <= LONGEST_WAIT
        assert 0 <= told.circuit.open_for <= LONGEST_WAIT
        assert all(0 < seconds <= LONGEST_WAIT for seconds in workspace.closed.values())
        assert all(0 < seconds <= LONGEST_WAIT for seconds in told.closed_buckets.values())
        with engine.begin() as connection:
            close_bucket(connection, "bot_get", LONGEST_WAIT)
        assert LONGEST_WAIT - 5 < closed_for(engine) <= LONGEST_WAIT, until


def test_a_quota_is_shown_only_if_it_is_a_number(engine: Engine) -> None:
    """Neither a page nor a scrape fails because of it."""
    for number in NO_NUMBERS:
        note(engine, "worker:one:1", {"memory_mb": number})
        quota = {"bot_get": {"left": number, "per_minute": 300}, "authenticate": number}
        note(engine, "quota", quota)
        with engine.begin() as connection:
            told = overview(connection)
        assert all(kept["left"] >= 0 for kept in told.quota.values())
        assert {metric.name for metric in SqlCollector(Reader(engine)).collect()}


@pytest.mark.parametrize("key", ["next_at", "lease_until", "position", "users"])
def test_a_night_that_never_comes_costs_one_night(
    engine: Engine, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is claimed as it stands, or set anew: the next one is never further than a day away."""
    # Else the night itself might begin while this runs.
    monkeypatch.setattr(schedule, "NIGHT_HOUR", (datetime.now(UTC).hour + 12) % 24)
    due = datetime.now(UTC) - timedelta(hours=1)
    kept = {"next_at": due.isoformat(), "lease_until": None, "position": None}
    for value in NO_TIMES:
        given = {**kept, "users": 0, "changed": 0, "failed": 0, key: value}
        note(engine, CALENDAR_SWEEP, given)
        with engine.begin() as connection:
            claim_nightly_run(connection)
            state = select(WorkspaceState.value).where(WorkspaceState.key == CALENDAR_SWEEP)
            now_kept = connection.execute(state).scalar_one()
        left = datetime.fromisoformat(now_kept["next_at"]) - datetime.now(UTC)
        assert timedelta(0) < left <= timedelta(days=1), value
