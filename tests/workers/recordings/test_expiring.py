"""`recording.expiring`: a day before, once, and not for what is gone."""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, delete, insert, update

from models.core.engine import make_engine
from models.tables.base import db_now
from models.tables.event import Event
from models.tables.recording import Recording
from tests.conftest import MakeSettings
from tests.support.fakes import BOT
from tests.support.query_plans import statements_of
from tests.support.rows import add_bot, rows
from tests.workers.outbox.test_links import link_the_bot
from workers.recordings.expiring import NOTICE, report_expiring

HOUR, DAY = 3600.0, 86_400.0
# Each with the seconds until it expires.
NOT_REPORTED = {"gone": -1.0, "later": DAY + HOUR, "deleted": HOUR, "media_expired": HOUR}
NOT_REPORTED |= {"failed": HOUR}
REPORTED = {"done": HOUR, "processing": HOUR, "paused": DAY - HOUR}


def add_recordings(engine: Engine, expiries: Mapping[str, float], bot_id: str = BOT) -> None:
    """Store recordings, each with its name as its status."""
    common = {"bot_id": bot_id, "source": "bot"}
    with engine.begin() as connection:
        for name, seconds in expiries.items():
            times = {"seen_at": db_now(), "expires_at": db_now(seconds)}
            one = {"id": name, "status": name, **common, **times}
            connection.execute(insert(Recording).values(**one))


def report(engine: Engine, limit: int = 500) -> int:
    """Look once, in a transaction of its own."""
    with engine.begin() as connection:
        return report_expiring(connection, limit)


def expiring(engine: Engine) -> list[str]:
    """The recordings of the events, in order."""
    events = rows(engine, Event, type="recording.expiring")
    return [event.data["recording"]["recording_id"] for event in events]


def expires_at(engine: Engine) -> datetime:
    """When the one recording expires."""
    (row,) = rows(engine, Recording)
    found: datetime = row.expires_at
    return found


def test_what_expires_within_a_day_is_reported_once(engine: Engine) -> None:
    """Neither what is gone, nor what failed, nor what has longer to live."""
    add_recordings(engine, REPORTED | NOT_REPORTED)
    assert report(engine, limit=2) == 2
    assert report(engine) == 1
    assert report(engine) == 0
    assert sorted(expiring(engine)) == sorted(REPORTED)
    unmarked = rows(engine, Recording, expiry_reported_until=None)
    assert {row.id for row in unmarked} == set(NOT_REPORTED)


def test_the_event_shows_the_recording_and_the_links(engine: Engine) -> None:
    """What a receiver needs to save it in time, and for whom."""
    link_the_bot(engine)
    with engine.begin() as connection:
        connection.execute(delete(Event))
    add_recordings(engine, {"done": HOUR})
    assert report(engine) == 1
    (event,) = rows(engine, Event)
    recording, (link,) = event.data["recording"], event.data["links"]
    assert (event.bot_id, event.data["bot_id"]) == (BOT, BOT)
    assert recording["expires_at"] == expires_at(engine).isoformat()
    assert (link["recording_id"], link["meeting_title"]) == ("done", "Weekly")


@pytest.mark.parametrize(("moved", "again"), [(DAY - 1, 0), (DAY, 1)])
def test_a_later_expiry_is_reported_again_a_day_later(
    engine: Engine, moved: float, again: int
) -> None:
    """Recall may keep a recording longer: a few hours more are no news."""
    add_recordings(engine, {"done": HOUR})
    assert report(engine) == 1
    # Instead of waiting: the report is this much older than the expiry of now.
    earlier = expires_at(engine) - timedelta(seconds=moved)
    with engine.begin() as connection:
        connection.execute(update(Recording).values(expiry_reported_until=earlier + NOTICE))
    assert report(engine) == again


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_workers_report_it_once(engine: Engine, make_settings: MakeSettings) -> None:
    """The second waits for the first, and finds it done."""
    add_bot(engine, BOT)
    add_recordings(engine, {"done": HOUR})
    other = make_engine(make_settings(), "write")
    counts: list[int] = []
    second = threading.Thread(target=lambda: counts.append(report(other)))
    with engine.begin() as connection:
        assert report_expiring(connection, 500) == 1
        second.start()
        # On a connection of its own: it is waiting for the bot's row.
        with engine.connect() as watcher:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            while second.is_alive() and not watcher.exec_driver_sql(waiting).scalar():
                watcher.rollback()
    second.join(10)
    other.dispose()
    assert counts == [0]
    assert expiring(engine) == ["done"]


def test_the_look_reads_the_index_of_what_is_unreported(engine: Engine) -> None:
    """Every worker looks each minute, and years of recordings lie behind."""
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.begin() as connection:
        # A small table is read whole otherwise.
        connection.exec_driver_sql("SELECT 1" if is_sqlite else "SET LOCAL enable_seqscan = off")
        ((statement, values),) = statements_of(connection, lambda: report_expiring(connection, 9))
        explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
        plan = connection.exec_driver_sql(explain + statement, values).all()
    assert "ix_recordings_expiry_unreported" in str(plan)
