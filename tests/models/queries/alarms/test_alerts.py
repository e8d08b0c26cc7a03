"""Alarms: each is active when it should be, and only then."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, insert, update

from models.core.bot_status import POST_TERMINAL, TERMINAL
from models.queries.alarms.alerts import Alarm, alarms
from models.queries.service_status import overview
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.hourly_count import HourlyCount
from models.tables.link import Link
from models.tables.workspace_state import WorkspaceState
from tests.support.fakes import BOT, MEETINGS
from tests.support.ids import new_id
from tests.support.rows import add_bot, add_delivery

HOUR, DAY = 3600.0, 86_400.0


def add_count(engine: Engine, name: str, label: str, hours_ago: int, count: int) -> None:
    """Add a counter of a past hour."""
    this = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    row = {"name": name, "label": label, "hour": this - timedelta(hours=hours_ago)}
    with engine.begin() as connection:
        connection.execute(insert(HourlyCount).values(count=count, **row))


def a_worker(engine: Engine, seen_ago: float = 0.0) -> None:
    """Add the heartbeat of a worker."""
    row = {"key": f"worker:w{seen_ago}:1", "value": {"memory_mb": 60.0}}
    with engine.begin() as connection:
        connection.execute(insert(WorkspaceState).values(updated_at=db_now(-seen_ago), **row))


def an_open_circuit(engine: Engine, seconds: float) -> None:
    """Add a circuit that stays open for some seconds."""
    until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    value = {"reason": "http_401", "detail": "Invalid API key", "until": until}
    with engine.begin() as connection:
        row = insert(WorkspaceState).values(key="circuit", value=value, updated_at=db_now())
        connection.execute(row)


def last_delivery(engine: Engine, ago: float) -> None:
    """Add a last webhook, received and applied some seconds ago."""
    add_delivery(engine, BOT, "done", received_at=db_now(-ago), applied_at=db_now(-ago))


def an_overdue_bot(engine: Engine, status: str, ended_ago: float) -> None:
    """Add a bot whose meeting is over."""
    seen_at = db_now(-ended_ago - HOUR)
    add_bot(engine, BOT, status=status, due_at=None, link_state="linked", first_seen_at=seen_at)
    times = {"start_time": db_now(-ended_ago - HOUR), "end_time": db_now(-ended_ago)}
    seen = {"seen_start": db_now(), "seen_end": db_now(), "linked_at": db_now()}
    with engine.begin() as connection:
        meeting = insert(CalendarMeeting).values(id=MEETINGS[0], state="found", **times)
        connection.execute(meeting)
        link = {"bot_id": BOT, "meeting_id": MEETINGS[0], "last_seen_at": db_now()}
        connection.execute(insert(Link).values(**link, **seen))


def active_alarms(engine: Engine) -> dict[str, Alarm]:
    """The active alarms by name."""
    with engine.connect() as connection:
        found = alarms(connection, overview(connection))
    assert all(alarm.text and alarm.remedy for alarm in found)
    return {alarm.name: alarm for alarm in found}


def test_no_alarm_is_active_on_an_ordinary_day(engine: Engine) -> None:
    """With a worker, a recent webhook and some refused requests."""
    a_worker(engine)
    last_delivery(engine, 60)
    add_count(engine, "delivery", "accepted", 0, 1)
    add_count(engine, "rejection", "missing_header", 0, 500)
    assert active_alarms(engine) == {}


def test_a_new_installation_is_not_silent(engine: Engine) -> None:
    """No webhook has ever arrived, so none is missing; the doctor reports that."""
    a_worker(engine)
    assert active_alarms(engine) == {}


def test_fewer_webhooks_than_a_week_ago_is_silence(engine: Engine) -> None:
    """After two hours, with the number that was expected."""
    a_worker(engine)
    last_delivery(engine, 4 * HOUR)
    add_count(engine, "delivery", "accepted", 7 * 24 + 1, 5)
    add_count(engine, "delivery", "ignored", 7 * 24 + 2, 3)
    # Hours before and after the silent period do not count.
    add_count(engine, "delivery", "accepted", 7 * 24 + 30, 100)
    add_count(engine, "delivery", "accepted", 7 * 24 - 2, 100)
    text = active_alarms(engine)["silence"].text
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
def test_a_quiet_period_is_silence_if_it_is_unusual_or_long(
    engine: Engine, ago: float, a_week_ago: int, *, is_silent: bool
) -> None:
    """A weekend is not. The fourth day is, before Recall disables the endpoint on the fifth."""
    a_worker(engine)
    last_delivery(engine, ago)
    add_count(engine, "delivery", "accepted", 7 * 24 + 1, a_week_ago)
    active = active_alarms(engine)
    assert set(active) == ({"silence"} if is_silent else set())
    assert not is_silent or "5 days" in active["silence"].remedy


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
def test_bots_without_a_final_status_are_silence(
    engine: Engine, status: str, ended_ago: float, *, is_silent: bool
) -> None:
    """If their meetings ended after the last webhook and at least two hours ago."""
    a_worker(engine)
    last_delivery(engine, 8 * HOUR)
    an_overdue_bot(engine, status, ended_ago)
    assert set(active_alarms(engine)) == ({"silence"} if is_silent else set())


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
def test_only_refused_requests_ring_unless_one_was_accepted(
    engine: Engine, refused: dict[int, int], accepted_hours_ago: int | None, *, rings: bool
) -> None:
    """Within two hours on a busy service, within a day on a quiet one."""
    a_worker(engine)
    for hours_ago, count in refused.items():
        add_count(engine, "rejection", "no_matching_signature", hours_ago, count)
    if accepted_hours_ago is not None:
        add_count(engine, "delivery", "accepted", accepted_hours_ago, 1)
    found = active_alarms(engine)
    assert set(found) == ({"all_refused"} if rings else set())
    if rings:
        assert "no_matching_signature" in found["all_refused"].text
        assert "RECALL_WEBHOOK_SECRETS" in found["all_refused"].remedy


def test_an_open_circuit_rings_and_hides_the_stall_it_causes(engine: Engine) -> None:
    """One cause gives one alarm."""
    a_worker(engine)
    add_bot(engine, BOT, due_at=db_now(-900))
    an_open_circuit(engine, 200)
    assert set(active_alarms(engine)) == {"circuit_open"}
    assert "(http_401)" in active_alarms(engine)["circuit_open"].text


def test_a_circuit_whose_time_is_over_does_not_ring(engine: Engine) -> None:
    """Its row stays until a worker makes the next call."""
    a_worker(engine)
    an_open_circuit(engine, -5)
    assert active_alarms(engine) == {}


@pytest.mark.parametrize(("seen_ago", "rings"), [(60, False), (180, True)])
def test_a_worker_without_heartbeat_for_two_minutes_is_away(
    engine: Engine, seen_ago: float, *, rings: bool
) -> None:
    """Workers report every thirty seconds."""
    a_worker(engine, seen_ago)
    assert ("no_worker" in active_alarms(engine)) == rings


def test_an_old_unapplied_delivery_rings(engine: Engine) -> None:
    """As old due bots do."""
    a_worker(engine)
    add_delivery(engine, BOT, "done", received_at=db_now(-600))
    assert active_alarms(engine)["stalled"].text == "the oldest item has been waiting for 10 min"


def failed_bots(engine: Engine, reasons: Sequence[str | None], ago: float = 60) -> None:
    """Add bots that were given up some seconds ago, each for a reason."""
    for reason in reasons:
        fields = {"link_state": "failed", "due_at": None, "settled_at": db_now(-ago)}
        add_bot(engine, new_id(), last_error=reason, **fields)


def test_many_bots_given_up_ring_with_their_reasons(engine: Engine) -> None:
    """The three most frequent; what Recall said behind the colon is not repeated."""
    a_worker(engine)
    failed_bots(engine, ["bot_not_found: hunter2"] * 4 + ["http_403"] * 3 + ["timeout"] * 2)
    failed_bots(engine, ["network", None])
    assert active_alarms(engine)["failures"].text == (
        "11 bots could not be fetched and were given up in the last 6 h, usually 0"
        " (4 bot_not_found, 3 http_403, 2 timeout, 2 for other reasons)"
    )


@pytest.mark.parametrize(
    ("bots", "ago", "on_earlier_days", "rings"),
    [
        (1, 60, {}, False),
        (2, 60, {}, False),
        (3, 60, {}, True),
        (3, 7 * HOUR, {}, False),
        # As on most days at these hours.
        (6, 60, dict.fromkeys(range(1, 8), 2), False),
        (7, 60, dict.fromkeys(range(1, 8), 2), True),
        # One bad day makes nothing usual, nor does a weekend.
        (3, 60, {1: 500, 2: 500, 3: 500}, True),
        (6, 60, {1: 2, 2: 2, 3: 2, 4: 2}, False),
    ],
)
def test_only_more_bots_given_up_than_usual_ring(
    engine: Engine, bots: int, ago: float, on_earlier_days: dict[int, int], *, rings: bool
) -> None:
    """Usual is the median of these hours on the last seven days; never is it one bot alone."""
    a_worker(engine)
    for day, count in on_earlier_days.items():
        add_count(engine, "link", "failed", 24 * day, count)
        # Of other hours, and of other outcomes.
        add_count(engine, "link", "failed", 24 * day + 8, 90)
        add_count(engine, "link", "linked", 24 * day, 90)
    failed_bots(engine, ["bot_not_found"] * bots, ago)
    found = active_alarms(engine)
    assert set(found) == ({"failures"} if rings else set())


def test_bots_that_were_relinked_are_given_up_no_more(engine: Engine) -> None:
    """The remedy ends the alarm."""
    a_worker(engine)
    failed_bots(engine, ["http_403"] * 5)
    assert set(active_alarms(engine)) == {"failures"}
    with engine.begin() as connection:
        connection.execute(update(Bot).values(link_state="linked"))
    assert active_alarms(engine) == {}


def test_a_bot_is_live_until_its_final_status() -> None:
    """The predicate of the index lists exactly the codes that end a bot."""
    named = re.findall(r"'(\w+)'", Bot.IS_LIVE)
    assert Bot.IS_LIVE.startswith("status NOT IN (")
    assert set(named) == TERMINAL | POST_TERMINAL
