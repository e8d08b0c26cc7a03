"""Endpoints that are turned off and on, with thousands of events that wait for them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, insert, select, text

from models.tables.base import db_now
from models.tables.event import Event, EventAttempt, EventDelivery
from models.tables.workspace_state import WorkspaceState
from tests.conftest import MakeSettings
from tests.support.rows import rows
from tests.workers.events.test_sender import (
    SECRET,
    a_receiver,
    answering,
    http,
    post_all,
    sender_to,
    tell,
)
from workers.events import sender as sending
from workers.events.deliveries import MOVE_BATCH
from workers.events.endpoints import put_off, take_up, turn_off, turn_on
from workers.recall_api.transport import HttpClient

__all__ = ["http"]
NAME = "hooks.example-3f9c01"
MANY = 6 * MOVE_BATCH
Statement = tuple[str, Any]


def add_waiting(engine: Engine, count: int) -> None:
    """Events that wait for an endpoint, and have been delivered to another."""
    ids = [f"evt_{n:030x}" for n in range(count)]
    made = {"type": "link.updated", "data": {}, "state": "pending"}
    to = [{"endpoint": NAME, "state": "pending"}, {"endpoint": "other", "state": "delivered"}]
    with engine.begin() as connection:
        connection.execute(
            insert(Event).values(created_at=db_now()),
            [{"id": one, "position": n, **made} for n, one in enumerate(ids, 1)],
        )
        connection.execute(
            insert(EventDelivery),
            [{"event_id": i, "position": n, **d} for n, i in enumerate(ids, 1) for d in to],
        )


def states(engine: Engine, table: Any = Event) -> dict[str, int]:
    """How many events are in each state."""
    with engine.connect() as connection:
        found = connection.execute(select(table.state, func.count()).group_by(table.state))
        return {row[0]: row[1] for row in found}


@contextmanager
def statements(engine: Engine) -> Iterator[list[Statement]]:
    """What is executed in the block."""
    seen: list[Statement] = []

    def see(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", see)
    yield seen
    event.remove(engine, "before_cursor_execute", see)


def rows_read(plan: dict[str, Any]) -> float:
    """How many rows of deliveries a plan has read."""
    below = sum(rows_read(one) for one in plan.get("Plans", []))
    if plan.get("Relation Name") != "event_deliveries":
        return below
    read: float = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    loops: float = plan["Actual Loops"]
    return below + read * loops


def assert_small(engine: Engine, seen: list[Statement]) -> None:
    """A few statements a batch, and none reads the deliveries more than once."""
    assert len(seen) <= 6 * (MANY / MOVE_BATCH + 2)
    updates = [one for one in seen if one[0].startswith("UPDATE events ")]
    assert len(updates) == MANY / MOVE_BATCH
    if engine.dialect.name != "postgresql":
        return
    with engine.connect() as connection:
        for statement, parameters in updates:
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
            found = connection.exec_driver_sql(explain, parameters).scalar_one()
            plan = json.loads(found) if isinstance(found, str) else found
            assert rows_read(plan[0]["Plan"]) <= 2 * MANY


def analyze(engine: Engine) -> None:
    """Let the planner know the tables."""
    with engine.begin() as connection:
        for table in ("events", "event_deliveries"):
            connection.execute(text(f"ANALYZE {table}"))


def test_thousands_of_events_are_kept_and_sent_in_batches(engine: Engine) -> None:
    """Each statement is short, whatever waits: the database cancels long ones."""
    add_waiting(engine, MANY)
    analyze(engine)
    with statements(engine) as seen:
        with engine.begin() as connection:
            turn_off(connection, NAME, "by hand")
        put_off(engine, NAME)
    assert states(engine, EventDelivery) == {"off": MANY, "delivered": MANY}
    assert states(engine) == {"delivered": MANY}
    assert_small(engine, seen)
    with statements(engine) as seen:
        take_up(engine, NAME)
        with engine.begin() as connection:
            turn_on(connection, NAME)
    assert states(engine, EventDelivery) == {"pending": MANY, "delivered": MANY}
    assert states(engine) == {"pending": MANY}
    assert_small(engine, seen)


def test_nothing_is_posted_to_an_endpoint_that_is_off(
    engine: Engine, make_settings: MakeSettings, http: HttpClient
) -> None:
    """Nor what was numbered just then, and still waits; it is sent when the endpoint is on."""
    with a_receiver(answering(204)) as receiver:
        settings = make_settings(EVENTS_URL=receiver.url, EVENTS_SECRET=SECRET)
        name = settings.event_endpoints[0].name
        tell(engine, "a", settings=settings)
        with engine.begin() as connection:
            turn_off(connection, name, "by hand")
        sender = sender_to(engine, settings, http)
        assert sender.turn() == 0
        with engine.begin() as connection:
            turn_on(connection, name)
        post_all(sender)
        assert receiver.names == ["a"]


def test_an_endpoint_that_is_on_keeps_nothing(engine: Engine) -> None:
    """As when it is turned on while what waits is put off."""
    add_waiting(engine, 1)
    put_off(engine, NAME)
    assert states(engine) == {"pending": 1}


def test_a_410_is_noted_before_what_waits_is_put_off(
    engine: Engine,
    make_settings: MakeSettings,
    http: HttpClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So it is not posted to again where the rest fails."""

    def fail(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(sending, "put_off", fail)
    with a_receiver(answering(410)) as receiver:
        settings = make_settings(EVENTS_URL=receiver.url, EVENTS_SECRET=SECRET)
        tell(engine, "a", "b", settings=settings)
        sender = sender_to(engine, settings, http)
        with pytest.raises(TimeoutError):
            sender.turn()
        assert sender.turn() == 0
        assert len(receiver.posts) == 1
    assert [attempt.status for attempt in rows(engine, EventAttempt)] == [410]
    assert any(row.key.startswith("endpoint_off:") for row in rows(engine, WorkspaceState))
