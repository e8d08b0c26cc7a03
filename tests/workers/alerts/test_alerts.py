"""Alerts from the database to a host that listens, on both databases."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, text

from models.tables.event import Event
from models.tables.workspace_state import ALERTS, CIRCUIT, WorkspaceState
from tests.conftest import MakeContext
from tests.models.queries.alarms.test_alerts import a_worker, an_open_circuit
from tests.support import hooks
from tests.support.hooks import HookHost, React
from tests.support.rows import rows
from workers.alerts.alerts import Alerts
from workers.alerts.turns import (
    LEASE_SECONDS,
    AlertState,
    Problems,
    Turn,
    begin_turn,
    end_turn,
    read_alert_state,
)
from workers.db.workspace_state import write_state
from workers.linking.context import WorkerContext

DAY = 24 * 60
TITLE = "Recall refuses all requests (`circuit_open`)"


@pytest.fixture
def host() -> Iterator[HookHost]:
    """A host that takes messages and heartbeats."""
    with HookHost() as host:
        yield host


@pytest.fixture
def context(make_context: MakeContext, host: HookHost) -> WorkerContext:
    """A worker that reports the host."""
    urls = {"ALERT_WEBHOOK_URL": host.hook, "HEARTBEAT_URL": host.ping}
    return make_context(**urls, PUBLIC_URL="https://links.example")


TIMES = ("next_at", "lease_until", "since", "seen_at", "reported_at")


def let_pass(engine: Engine, minutes: float) -> None:
    """Move all that is kept of alerts into the past, as if time had passed."""

    def earlier(kept: dict[str, Any]) -> dict[str, Any]:
        shift = timedelta(minutes=minutes)
        moved = {
            name: (datetime.fromisoformat(kept[name]) - shift).isoformat()
            for name in TIMES
            if kept.get(name)
        }
        return kept | moved

    with engine.begin() as connection:
        if (state := read_alert_state(connection)) is not None:
            text = json.dumps(state.as_json())
            write_state(connection, ALERTS, json.loads(text, object_hook=earlier))


def take_turn(context: WorkerContext, seconds: float = 5.0) -> bool:
    """Let a worker that has just started look, and wait for its calls; whether it had the turn."""
    woken = threading.Event()
    alerts = Alerts(context, woken.set, seconds)
    alerts.run_when_due()
    if alerts.is_idle:
        return False
    assert woken.wait(10)
    alerts.run_when_due()
    assert alerts.is_idle
    return True


def minutes(engine: Engine, context: WorkerContext, count: int) -> None:
    """Let a worker have so many turns, a minute apart."""
    for _ in range(count):
        let_pass(engine, 1)
        assert take_turn(context)


def state_of(engine: Engine) -> AlertState:
    """What is kept of alerts."""
    with engine.begin() as connection:
        state = read_alert_state(connection)
    assert state is not None
    return state


def end_circuit(engine: Engine) -> None:
    """Let the alarm end."""
    with engine.begin() as connection:
        connection.execute(delete(WorkspaceState).where(WorkspaceState.key == CIRCUIT))


def told(engine: Engine) -> list[tuple[str, str]]:
    """The events of alarms: the type, and which alarm."""
    return [(event.type, event.data["alarm"]["name"]) for event in rows(engine, Event)]


def test_an_alarm_is_reported_once_when_it_starts_and_once_when_it_ends(
    engine: Engine, context: WorkerContext, host: HookHost
) -> None:
    """With its words, its remedy and the way to the console; and each is one event."""
    a_worker(engine)
    an_open_circuit(engine, 3600)
    minutes(engine, context, 2)
    assert host.texts == []
    minutes(engine, context, 4)
    (start,) = host.texts
    assert start.startswith(f"Alarm: {TITLE}\nCalls are paused (http_401)")
    assert "\nWhat to do: check RECALL_API_KEY" in start
    assert start.endswith("\nhttps://links.example/console/")
    assert told(engine) == [("alarm.started", "circuit_open")]
    end_circuit(engine)
    minutes(engine, context, 5)
    assert len(host.texts) == 2
    assert host.texts[1].startswith(f"Alarm ended: {TITLE}. It was active for ")
    assert told(engine) == [("alarm.started", "circuit_open"), ("alarm.ended", "circuit_open")]
    assert state_of(engine).episodes == {}


def test_the_heartbeat_is_called_each_minute_and_fails_with_the_alarms_names(
    engine: Engine, context: WorkerContext, host: HookHost
) -> None:
    """By GET, and without a body."""
    a_worker(engine)
    minutes(engine, context, 1)
    an_open_circuit(engine, 3600)
    minutes(engine, context, 4)
    end_circuit(engine)
    minutes(engine, context, 3)
    failed = "/fail?alarms=circuit_open"
    assert host.pings == ["", "", "", failed, failed, failed, "", ""]
    assert {one.body for one in host.requests if one.method == "GET"} == {b""}


def test_an_alarm_is_reported_again_after_a_day(
    engine: Engine, context: WorkerContext, host: HookHost
) -> None:
    """If it is active still; and the event is not repeated."""
    a_worker(engine)
    an_open_circuit(engine, 3600)
    minutes(engine, context, 3)
    let_pass(engine, DAY - 5)
    minutes(engine, context, 1)
    assert len(host.texts) == 1
    let_pass(engine, 5)
    minutes(engine, context, 3)
    assert len(host.texts) == 2
    assert host.texts[1].startswith("Alarm still active after 24 h: ")
    assert told(engine) == [("alarm.started", "circuit_open")]


def test_of_two_workers_one_tells(
    engine: Engine, context: WorkerContext, make_context: MakeContext, host: HookHost
) -> None:
    """Whichever comes first in each minute, also when both come at once."""
    other = make_context(ALERT_WEBHOOK_URL=host.hook, HEARTBEAT_URL=host.ping)
    a_worker(engine)
    an_open_circuit(engine, 3600)
    for _ in range(5):
        let_pass(engine, 1)
        with ThreadPoolExecutor(2) as pool:
            turns = list(pool.map(take_turn, (context, other)))
        assert sorted(turns) == [False, True]
    assert len(host.texts) == 1
    assert len(host.pings) == 5


BAD: dict[str, tuple[React, str]] = {
    "hang": (hooks.hang, "did not answer in time"),
    "drip": (hooks.drip, "did not answer in time"),
    "500": (hooks.failing(500), "answered 500"),
    "404": (hooks.failing(404), "answered 404"),
    "redirect": (hooks.failing(302, ("Location", "/elsewhere")), "answered 302"),
    "garbage redirect": (hooks.failing(308, ("Location", "http://[")), "answered 308"),
    "http/0.9": (hooks.http_0_9, "did not answer in HTTP"),
    "reset": (hooks.reset, "closed the connection without an answer"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_message_that_did_not_arrive_is_reported_the_next_minute(
    engine: Engine,
    context: WorkerContext,
    host: HookHost,
    kind: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """By any worker that lives then; a second is spent here, and no address is in any log."""
    a_worker(engine)
    an_open_circuit(engine, 3600)
    minutes(engine, context, 2)
    host.react, problem = BAD[kind]
    let_pass(engine, 1)
    began = time.monotonic()
    assert take_turn(context, 0.5)
    assert time.monotonic() - began < 5
    assert state_of(engine).problems == Problems(problem, problem)
    host.react = hooks.ok
    seen = len(host.texts)
    minutes(engine, context, 3)
    assert len(host.texts) == seen + 1
    assert state_of(engine).problems == Problems()
    printed = "".join(capfd.readouterr())
    assert "ALERT_WEBHOOK_URL" in printed
    assert "hunter2" not in printed
    assert {one.path for one in host.requests} <= {
        "/services/hunter2",
        "/ping/hunter2",
        "/ping/hunter2/fail",
    }


@pytest.mark.parametrize("react", [hooks.flood, hooks.drip_body], ids=["10 GB", "drip"])
def test_what_was_answered_with_200_has_arrived_whatever_follows(
    engine: Engine, context: WorkerContext, host: HookHost, react: React
) -> None:
    """Nothing of the body is read; told again, a message would be told each minute."""
    a_worker(engine)
    an_open_circuit(engine, 3600)
    host.react = react
    minutes(engine, context, 5)
    assert len(host.texts) == 1
    assert state_of(engine).problems == Problems()


def test_a_host_that_is_away_is_found_again(
    engine: Engine, context: WorkerContext, host: HookHost
) -> None:
    """An alarm that came and went meanwhile is told of as well."""
    a_worker(engine)
    an_open_circuit(engine, 3600)
    host.shut_door()
    minutes(engine, context, 4)
    away = "could not be reached"
    assert state_of(engine).problems == Problems(away, away)
    end_circuit(engine)
    minutes(engine, context, 4)
    host.open_door()
    minutes(engine, context, 2)
    (text,) = host.texts
    assert text.startswith("Alarm ended: ")
    assert "Its start could not be reported." in text


def test_a_host_that_hangs_does_not_stop_the_caller(
    engine: Engine, context: WorkerContext, host: HookHost
) -> None:
    """The calls are another thread's; no second turn begins before they are over."""
    a_worker(engine)
    host.react = hooks.hang
    woken = threading.Event()
    alerts = Alerts(context, woken.set, 1.0)
    alerts.run_when_due()
    alerts.run_when_due()
    alerts.finish(0.0)
    assert not alerts.is_idle
    assert woken.wait(10)
    alerts.finish()
    assert alerts.is_idle
    assert len(host.pings) == 1


def test_what_a_dead_worker_was_about_to_tell_the_next_one_tells(
    engine: Engine, context: WorkerContext, host: HookHost
) -> None:
    """Once its lease is over; what it then still writes does not count."""
    a_worker(engine)
    an_open_circuit(engine, 3600)
    minutes(engine, context, 2)
    let_pass(engine, 1)
    with engine.begin() as connection:
        dead = begin_turn(connection, reports=True)
    assert isinstance(dead, Turn)
    let_pass(engine, 1.2)
    assert not take_turn(context)
    let_pass(engine, LEASE_SECONDS / 60)
    assert take_turn(context)
    assert len(host.texts) == 1
    with engine.begin() as connection:
        assert not end_turn(connection, dead, Problems("late"))
    assert state_of(engine).problems == Problems()


def test_without_a_webhook_nothing_is_reported_and_nothing_kept_to_report(
    engine: Engine, make_context: MakeContext, context: WorkerContext, host: HookHost
) -> None:
    """The events are written still. Once it is set, what is active is told, not what is over."""
    silent = make_context()
    a_worker(engine)
    an_open_circuit(engine, 3600)
    minutes(engine, silent, 4)
    end_circuit(engine)
    minutes(engine, silent, 3)
    assert told(engine) == [("alarm.started", "circuit_open"), ("alarm.ended", "circuit_open")]
    assert state_of(engine).episodes == {}
    an_open_circuit(engine, 3600)
    minutes(engine, silent, 4)
    minutes(engine, context, 1)
    assert len(host.texts) == 1
    assert host.texts[0].startswith("Alarm: ")


ODD: tuple[object, ...] = (
    {},
    {"next_at": "never", "lease_token": None},
    {"next_at": "9999-01-01T00:00:00+00:00", "lease_token": "x", "lease_until": None,
     "episodes": [], "problems": {}},
    {"next_at": "2026-01-01T00:00:00+00:00", "lease_token": "x",
     "lease_until": "9999-01-01T00:00:00+00:00", "episodes": [], "problems": {}},
    {"next_at": "2026-01-01T00:00:00", "lease_token": None, "lease_until": None,
     "episodes": [], "problems": {}},
    {"next_at": "2026-01-01T00:00:00+00:00", "lease_token": None, "lease_until": None,
     "episodes": [{"alarm": {"name": "x"}}], "problems": {}},
    {"next_at": "2026-01-01T00:00:00+00:00", "lease_token": None, "lease_until": None,
     "episodes": "x", "problems": {"a": 1}},
)  # fmt: skip


@pytest.mark.parametrize("kept", ODD, ids=range(len(ODD)))
def test_a_state_that_cannot_be_read_stops_nothing_for_long(
    engine: Engine, context: WorkerContext, host: HookHost, kept: dict[str, object]
) -> None:
    """Two minutes at most: no time in it is believed beyond a turn or a lease."""
    a_worker(engine)
    with engine.begin() as connection:
        write_state(connection, ALERTS, kept)
    if not take_turn(context):
        let_pass(engine, 2)
        assert take_turn(context)
    assert host.pings == [""]


def test_no_heartbeat_comes_from_a_database_that_cannot_be_written(
    engine: Engine, context: WorkerContext, host: HookHost
) -> None:
    """Silence is what the heartbeat's host is to notice."""
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE workspace_state RENAME TO elsewhere"))
    alerts = Alerts(context)
    alerts.run_when_due()
    assert alerts.is_idle
    assert host.requests == []
