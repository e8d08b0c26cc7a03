"""The feed's places: none is given before the commit, none twice, none passed over."""

import threading

import pytest
from sqlalchemy import Engine, delete

from models.core.engine import make_engine
from models.queries.events.event_list import EventFilter, events
from models.tables.event import Event, EventDelivery
from models.tables.workspace_state import ENDPOINT_OFF
from tests.conftest import MakeSettings
from tests.support.rows import rows
from workers.db.workspace_state import write_state
from workers.outbox.numbering import NUMBER_LOCK, Route, number_events
from workers.outbox.write import Subject, write_event


def tell(engine: Engine, name: str) -> None:
    """Write one event in a transaction of its own."""
    with engine.begin() as connection:
        write_event(connection, "bot.ended", Subject(bot_id=name), {"name": name})


def number(engine: Engine, *routes: Route) -> int:
    """Number in a transaction of its own."""
    with engine.begin() as connection:
        return number_events(connection, routes)


def feed(engine: Engine, after: int = 0) -> list[tuple[int, str | None]]:
    """What a reader finds behind a position."""
    with engine.connect() as connection:
        found = events(EventFilter(after=after)).page(connection, 100).rows
    return [(row.position, row.bot_id) for row in found]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_event_that_commits_late_is_not_passed_over(
    engine: Engine, make_settings: MakeSettings
) -> None:
    """A reader was quicker than a writer who began first: the late event comes behind."""
    other = make_engine(make_settings(), "write")
    has_written, may_commit = threading.Event(), threading.Event()

    def write_late() -> None:
        with other.begin() as connection:
            write_event(connection, "bot.ended", Subject(bot_id="late"), {})
            has_written.set()
            assert may_commit.wait(10)

    writer = threading.Thread(target=write_late)
    writer.start()
    assert has_written.wait(10)
    tell(engine, "quick")
    assert number(engine) == 1
    assert feed(engine) == [(1, "quick")]
    may_commit.set()
    writer.join(10)
    other.dispose()
    assert number(engine) == 1
    assert feed(engine, after=1) == [(2, "late")]
    assert [event.bot_id for event in rows(engine, Event)] == ["late", "quick"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_one_at_a_time_gives_places(engine: Engine, make_settings: MakeSettings) -> None:
    """Whoever comes second leaves it to the first, and keeps nobody waiting."""
    other = make_engine(make_settings(), "write")
    tell(engine, "a")
    with other.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({NUMBER_LOCK})")
        assert number(engine) == 0
    other.dispose()
    assert number(engine) == 1


def test_what_is_not_numbered_is_not_in_the_feed(engine: Engine) -> None:
    """In the order of writing, each with its place."""
    for name in ("a", "b", "c"):
        tell(engine, name)
    assert feed(engine) == []
    assert number(engine) == 3
    assert feed(engine) == [(1, "a"), (2, "b"), (3, "c")]
    assert feed(engine, after=2) == [(3, "c")]
    assert number(engine) == 0


def test_a_place_is_given_once(engine: Engine) -> None:
    """Also where the newest events were deleted: a reader's position must not come again."""
    tell(engine, "a")
    number(engine)
    with engine.begin() as connection:
        connection.execute(delete(Event))
    tell(engine, "b")
    number(engine)
    assert feed(engine, after=1) == [(2, "b")]


def test_each_endpoint_that_takes_it_gets_a_delivery(engine: Engine) -> None:
    """Waiting at once, or kept where the endpoint is off; an event for nobody is off."""
    with engine.begin() as connection:
        write_state(connection, f"{ENDPOINT_OFF}second", {"reason": "by hand"})
    first, second = Route("first", {"bot.ended"}), Route("second", {"bot.ended"})
    tell(engine, "a")
    number(engine, first, second, Route("third", {"link.created"}))
    tell(engine, "b")
    number(engine, second)
    kept = [(row.endpoint, row.position, row.state) for row in rows(engine, EventDelivery)]
    assert sorted(kept) == [("first", 1, "pending"), ("second", 1, "off"), ("second", 2, "off")]
    assert [event.state for event in rows(engine, Event)] == ["pending", "off"]
