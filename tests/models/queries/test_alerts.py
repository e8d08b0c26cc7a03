"""What should worry somebody: silence, refusals, a refused workspace, no worker, old work."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, insert

from models.core.bot_status import POST_TERMINAL, TERMINAL
from models.queries.alerts import Alarm, alarms
from models.queries.service_status import overview
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.hourly_count import HourlyCount
from models.tables.link import Link
from models.tables.workspace_state import WorkspaceState
from tests.support.fakes import BOT, MEETINGS
from tests.support.rows import add_bot, add_delivery

HOUR, DAY = 3600.0, 86_400.0


def tally(engine: Engine, name: str, label: str, hours_ago: int, count: int) -> None:
    """Count something in an hour of the past."""
    this = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    row = {"name": name, "label": label, "hour": this - timedelta(hours=hours_ago)}
    with engine.begin() as connection:
        connection.execute(insert(HourlyCount).values(count=count, **row))


def a_worker(engine: Engine, seen_ago: float = 0.0) -> None:
    """A worker told of itself."""
    row = {"key": f"worker:w{seen_ago}:1", "value": {"memory_mb": 60.0}}
    with engine.begin() as connection:
        connection.execute(insert(WorkspaceState).values(updated_at=db_now(-seen_ago), **row))


def a_refused_workspace(engine: Engine, seconds: float) -> None:
    """The circuit was opened, and is for so many seconds more."""
    until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    value = {"reason": "http_401", "detail": "Invalid API key", "until": until}
    with engine.begin() as connection:
        row = insert(WorkspaceState).values(key="circuit", value=value, updated_at=db_now())
        connection.execute(row)


def last_delivery(engine: Engine, ago: float) -> None:
    """The last webhook came so many seconds ago, and was applied."""
    add_delivery(engine, BOT, "done", received_at=db_now(-ago), applied_at=db_now(-ago))


def an_overdue_bot(engine: Engine, status: str, ended_ago: float) -> None:
    """A bot whose meeting is over."""
    seen_at = db_now(-ended_ago - HOUR)
    add_bot(engine, BOT, status=status, due_at=None, link_state="linked", first_seen_at=seen_at)
    times = {"start_time": db_now(-ended_ago - HOUR), "end_time": db_now(-ended_ago)}
    seen = {"seen_start": db_now(), "seen_end": db_now(), "linked_at": db_now()}
    with engine.begin() as connection:
        meeting = insert(CalendarMeeting).values(id=MEETINGS[0], state="found", **times)
        connection.execute(meeting)
        link = {"bot_id": BOT, "meeting_id": MEETINGS[0], "last_seen_at": db_now()}
        connection.execute(insert(Link).values(**link, **seen))


def ringing(engine: Engine) -> dict[str, Alarm]:
    """The alarms that ring, by name."""
    with engine.connect() as connection:
        found = alarms(connection, overview(connection))
    assert all(alarm.text and alarm.remedy for alarm in found)
    return {alarm.name: alarm for alarm in found}


def test_nothing_rings_where_all_is_well(engine: Engine) -> None:
    """A worker, a recent webhook, a refused stranger: an ordinary day."""
    a_worker(engine)
    last_delivery(engine, 60)
    tally(engine, "delivery", "accepted", 0, 1)
    tally(engine, "rejection", "missing_header", 0, 500)
    assert ringing(engine) == {}


def test_a_new_installation_is_not_silent(engine: Engine) -> None:
    """Nothing was ever sent, so nothing is missing: the doctor says that."""
    a_worker(engine)
    assert ringing(engine) == {}


def test_no_webhook_where_a_week_ago_there_were_many_is_silence(engine: Engine) -> None:
    """Two hours are enough, and it says how many there should have been."""
    a_worker(engine)
    last_delivery(engine, 4 * HOUR)
    tally(engine, "delivery", "accepted", 7 * 24 + 1, 5)
    tally(engine, "delivery", "ignored", 7 * 24 + 2, 3)
    # Before the last webhook's hour, and after the silence: neither belongs to it.
    tally(engine, "delivery", "accepted", 7 * 24 + 30, 100)
    tally(engine, "delivery", "accepted", 7 * 24 - 2, 100)
    text = ringing(engine)["silence"].text
    assert text == "no webhook for 4 h, compared with 8 in the same period a week ago"


@pytest.mark.parametrize(
    ("ago", "a_week_ago", "is_silent"),
    [
        (HOUR, 100, False),
        (3 * HOUR, 4, False),
        (60 * HOUR, 0, False),
        (95 * HOUR, 4, False),
        (97 * HOUR, 0, True),
        (30 * DAY, 0, True),
    ],
)
def test_a_quiet_time_is_silence_when_it_is_unusual_or_long(
    engine: Engine, ago: float, a_week_ago: int, *, is_silent: bool
) -> None:
    """A weekend rings nothing; the fourth day rings before the fifth, when Recall gives up."""
    a_worker(engine)
    last_delivery(engine, ago)
    tally(engine, "delivery", "accepted", 7 * 24 + 1, a_week_ago)
    rings = ringing(engine)
    assert set(rings) == ({"silence"} if is_silent else set())
    assert not is_silent or "5 days" in rings["silence"].remedy


@pytest.mark.parametrize(
    ("status", "ended_ago", "is_silent"),
    [
        ("in_call_recording", 3 * HOUR, True),
        ("in_call_recording", HOUR, False),
        ("in_call_recording", 9 * HOUR, False),
        ("done", 3 * HOUR, False),
        ("media_expired", 3 * HOUR, False),
    ],
)
def test_bots_that_never_told_of_their_end_are_silence(
    engine: Engine, status: str, ended_ago: float, *, is_silent: bool
) -> None:
    """Also in a first week: their meetings ended since the last webhook, and two hours ago."""
    a_worker(engine)
    last_delivery(engine, 8 * HOUR)
    an_overdue_bot(engine, status, ended_ago)
    assert set(ringing(engine)) == ({"silence"} if is_silent else set())


@pytest.mark.parametrize(
    ("refused", "accepted_hours_ago", "rings"),
    [
        ({0: 5}, None, True),
        ({0: 4}, None, False),
        ({3: 2, 9: 2, 20: 1}, None, True),
        ({30: 50}, None, False),
        ({0: 50}, 0, False),
        ({0: 50}, 30, True),
        ({0: 2, 20: 30}, 10, False),
    ],
)
def test_every_signature_failing_rings_and_one_that_holds_does_not(
    engine: Engine, refused: dict[int, int], accepted_hours_ago: int | None, *, rings: bool
) -> None:
    """In two hours where much is sent, in a day where little is."""
    a_worker(engine)
    for hours_ago, count in refused.items():
        tally(engine, "rejection", "no_matching_signature", hours_ago, count)
    if accepted_hours_ago is not None:
        tally(engine, "delivery", "accepted", accepted_hours_ago, 1)
    found = ringing(engine)
    assert set(found) == ({"all_refused"} if rings else set())
    if rings:
        assert "no_matching_signature" in found["all_refused"].text
        assert "RECALL_WEBHOOK_SECRETS" in found["all_refused"].remedy


def test_a_refused_workspace_rings_and_hides_the_stall_it_causes(engine: Engine) -> None:
    """One cause, one alarm; and it is over when its time is."""
    a_worker(engine)
    add_bot(engine, BOT, due_at=db_now(-900))
    a_refused_workspace(engine, 200)
    assert set(ringing(engine)) == {"circuit_open"}
    assert "(http_401)" in ringing(engine)["circuit_open"].text


def test_a_circuit_whose_time_is_over_is_closed(engine: Engine) -> None:
    """The note stays until a worker has tried."""
    a_worker(engine)
    a_refused_workspace(engine, -5)
    assert ringing(engine) == {}


@pytest.mark.parametrize(("seen_ago", "rings"), [(60, False), (180, True)])
def test_a_worker_that_says_nothing_for_two_minutes_is_away(
    engine: Engine, seen_ago: float, *, rings: bool
) -> None:
    """It tells of itself every thirty seconds."""
    a_worker(engine, seen_ago)
    assert ("no_worker" in ringing(engine)) == rings


def test_old_work_rings_whichever_it_is(engine: Engine) -> None:
    """An unapplied delivery of ten minutes, as a due bot of ten minutes."""
    a_worker(engine)
    add_delivery(engine, BOT, "done", received_at=db_now(-600))
    assert ringing(engine)["stalled"].text == "the oldest item has been waiting for 10 min"


def test_a_bot_is_live_until_its_last_word() -> None:
    """The index's predicate names every code that ends a bot, and no other."""
    named = re.findall(r"'(\w+)'", Bot.IS_LIVE)
    assert Bot.IS_LIVE.startswith("status NOT IN (")
    assert set(named) == TERMINAL | POST_TERMINAL
