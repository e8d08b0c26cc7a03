"""What was missed: meetings that were to be recorded, are over, and were not."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, update

from models.queries.alarms.alerts import alarms
from models.queries.service_status import overview
from models.tables.base import db_now
from models.tables.event import Event
from models.tables.missed_meeting import MissedMeeting
from tests.conftest import MakeContext
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.world.shapes import Bot as FakeBot
from tests.lab.world.shapes import CalendarMeeting as FakeMeeting
from tests.lab.world.shapes import CalendarUser as FakeUser
from tests.support.cli import Tell, teller, told
from tests.support.rows import add_delivery, count, rows
from workers.calendars import schedule
from workers.calendars.nightly import NightlyCheck
from workers.calendars.schedule import NightlyRun
from workers.linking.context import WorkerContext
from workers.linking.drain import Drain
from workers.privacy.tombstones import ERASED, add_tombstone
from workers.recall_api.errors import RecallError
from workers.shutdown import Stop

WHO = "ines"
CHECK = ("calendar", "check", WHO, "--json")
LOBBY = (("in_waiting_room", None), ("call_ended", "timeout_exceeded_waiting_room"), ("done", None))
RECORDED = (("in_call_recording", None), ("call_ended", "call_ended_by_host"), ("done", None))
SILENT = (("in_call_not_recording", None), ("call_ended", "bot_kicked_from_call"), ("done", None))
FAILED = (("fatal", "meeting_not_found"),)


@pytest.fixture
def tell(database_url: str, recall: FakeRecall) -> Tell:
    """The command line."""
    return teller(database_url, recall)


@pytest.fixture
def ines(recall: FakeRecall) -> FakeUser:
    """A user of one Google calendar."""
    return recall.build.user(WHO)


@pytest.fixture
def meeting(recall: FakeRecall, ines: FakeUser) -> FakeMeeting:
    """A meeting of hers that was to be recorded, and is over."""
    return recall.build.meeting(ines, start=ago(hours=3))


def ago(**how_long: float) -> datetime:
    """A moment of the past, to the second as calendars have it."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(**how_long)


def a_bot(recall: FakeRecall, meetings: list[FakeMeeting]) -> FakeBot:
    """A bot of whose media nothing is kept: its webhooks alone say what it recorded."""
    bot = recall.build.bot(meetings)
    bot.recordings.clear()
    bot.status_changes.clear()
    return bot


Life = tuple[tuple[str, str | None], ...]


def live(engine: Engine, tools: WorkerContext, bot_id: str, life: Life) -> None:
    """Let webhooks report a bot's life, and link it."""
    for number, (code, sub_code) in enumerate(life):
        at = ago(hours=3, seconds=-60 * number)
        add_delivery(engine, bot_id, code, sub_code=sub_code, occurred_at=at)
    Drain(tools, Stop()).run()


def check_all(make_context: MakeContext) -> NightlyRun:
    """Let one night pass."""
    run = NightlyRun(schedule.next_nightly_run(datetime.now(UTC)))
    return NightlyCheck(make_context(), Stop(), pace=0).run(run)


def missed(engine: Engine) -> dict[str, tuple[str, str | None]]:
    """The meetings that are missed and not resolved: why, and by which sub code."""
    found = rows(engine, MissedMeeting, resolved_at=None)
    return {row.meeting_id: (row.reason, row.sub_code) for row in found}


def test_a_meeting_that_no_bot_came_to_is_missed(
    engine: Engine, tell: Tell, meeting: FakeMeeting, ines: FakeUser
) -> None:
    """By the check of one user, which ends with 1; the list has title, user, time and reason."""
    result = tell(*CHECK)
    assert (result.exit_code, told(result)["missed"][0]["meeting_id"]) == (1, meeting.id)
    (found,) = told(tell("missed", "--json"))["items"]
    assert (found["meeting_title"], found["external_id"]) == (meeting.title, WHO)
    assert (found["calendar_user_id"], found["reason"]) == (ines.id, "no_bot")
    assert datetime.fromisoformat(found["meeting_start"]) == meeting.start_time
    assert (found["bot_id"], found["resolved_at"]) == (None, None)
    by_hand = tell("calendar", "check", WHO).stdout
    assert str(meeting.title) in by_hand
    assert "compared, none changed; 1 meeting missed\n" in by_hand


@pytest.mark.parametrize(
    ("life", "reason", "sub_code"),
    [
        (LOBBY, "not_admitted", "timeout_exceeded_waiting_room"),
        (SILENT, "not_recorded", "bot_kicked_from_call"),
        (FAILED, "bot_failed", "meeting_not_found"),
        ((("done", None),), "not_recorded", None),
    ],
    ids=["lobby", "silent", "failed", "untold"],
)
def test_a_bot_that_recorded_nothing_says_why(
    engine: Engine,
    recall: FakeRecall,
    make_context: MakeContext,
    meeting: FakeMeeting,
    life: Life,
    reason: str,
    sub_code: str | None,
) -> None:
    """With its id, every night."""
    bot = a_bot(recall, [meeting])
    live(engine, make_context(), bot.id, life)
    check_all(make_context)
    assert missed(engine) == {meeting.id: (reason, sub_code)}
    assert rows(engine, MissedMeeting)[0].bot_id == bot.id


def test_a_recorded_meeting_is_not_missed(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, meeting: FakeMeeting
) -> None:
    """The check ends with 0."""
    live(engine, make_context(), a_bot(recall, [meeting]).id, RECORDED)
    assert tell(*CHECK).exit_code == 0
    assert count(engine, MissedMeeting) == 0


@pytest.mark.parametrize("is_known", [True, False])
def test_a_bot_whose_end_is_not_known_is_waited_for(
    engine: Engine,
    recall: FakeRecall,
    make_context: MakeContext,
    meeting: FakeMeeting,
    *,
    is_known: bool,
) -> None:
    """Also one that Recall names and no webhook has reported: it may have recorded."""
    bot = a_bot(recall, [meeting])
    if is_known:
        live(engine, make_context(), bot.id, (("in_call_not_recording", None),))
    check_all(make_context)
    assert missed(engine) == {}


@pytest.mark.parametrize("whose", ["omar", WHO])
def test_a_copy_whose_bot_recorded_counts(
    engine: Engine,
    recall: FakeRecall,
    make_context: MakeContext,
    meeting: FakeMeeting,
    ines: FakeUser,
    whose: str,
) -> None:
    """The bot of a shared meeting may be named at another copy, beside one that was not let in."""
    other = recall.build.user("omar", platform="microsoft") if whose == "omar" else ines
    copy = recall.build.copy(meeting, other)
    denied, recorded = a_bot(recall, [meeting]), a_bot(recall, [copy])
    live(engine, make_context(), denied.id, LOBBY)
    live(engine, make_context(), recorded.id, RECORDED)
    check_all(make_context)
    assert missed(engine) == {}


def test_a_bot_of_another_occurrence_does_not_count(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, ines: FakeUser
) -> None:
    """A series has one iCal UID, and a meeting that was moved keeps its id."""
    before = recall.build.meeting(ines, start=ago(hours=30))
    after = recall.build.meeting(ines, start=ago(hours=6))
    after.ical_uid = before.ical_uid
    live(engine, make_context(), a_bot(recall, [before]).id, RECORDED)
    moved = recall.build.meeting(ines, start=ago(hours=50))
    live(engine, make_context(), a_bot(recall, [moved]).id, RECORDED)
    recall.world.reschedule(moved.id, ago(hours=2), ago(hours=1))
    moved.bot_id = None
    check_all(make_context)
    assert set(missed(engine)) == {after.id, moved.id}


@pytest.mark.parametrize(
    ("will_record", "override", "is_missed"),
    [
        (True, None, True),
        (False, True, True),
        (False, None, False),
        (True, False, False),
    ],
)
def test_only_what_was_to_be_recorded_can_be_missed(
    engine: Engine,
    make_context: MakeContext,
    meeting: FakeMeeting,
    *,
    will_record: bool,
    override: bool | None,
    is_missed: bool,
) -> None:
    """By the user's preferences, or by an override for this meeting, which wins."""
    meeting.will_record, meeting.override_should_record = will_record, override
    check_all(make_context)
    assert bool(missed(engine)) == is_missed


def test_only_the_last_seven_days_are_judged(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, ines: FakeUser
) -> None:
    """And nothing before its end."""
    for start in (ago(days=8), ago(minutes=-1), ago(minutes=10)):
        recall.build.meeting(ines, start=start)
    week_old = recall.build.meeting(ines, start=ago(days=6, hours=23))
    check_all(make_context)
    assert set(missed(engine)) == {week_old.id}


def test_what_was_noted_before_counts_where_recall_takes_it_back(
    engine: Engine, recall: FakeRecall, tell: Tell, ines: FakeUser
) -> None:
    """A meeting that is over meets no prerequisite of recording any more: the check remembers."""
    meeting = recall.build.meeting(ines, start=ago(minutes=10))
    assert told(tell(*CHECK))["findings"][0]["kind"] == "will_record_without_bot"
    meeting.will_record, meeting.end_time = False, ago(seconds=1)
    for _ in range(2):
        tell(*CHECK)
        assert missed(engine) == {meeting.id: ("no_bot", None)}


def test_it_is_resolved_at_once_when_the_bot_turns_out_to_have_recorded(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, meeting: FakeMeeting
) -> None:
    """By the late webhook itself, without another check."""
    bot = a_bot(recall, [meeting])
    live(engine, make_context(), bot.id, (("done", None),))
    tell(*CHECK)
    assert missed(engine) == {meeting.id: ("not_recorded", None)}
    live(engine, make_context(), bot.id, (("in_call_recording", None),))
    assert missed(engine) == {}
    assert tell("missed", "--unresolved").exit_code == 1
    assert told(tell("missed", "--json"))["items"][0]["resolved_at"] is not None


def test_it_is_resolved_by_the_next_check_when_a_copys_bot_recorded(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, meeting: FakeMeeting
) -> None:
    """Which is known only when that bot is linked."""
    check_all(make_context)
    assert set(missed(engine)) == {meeting.id}
    copy = recall.build.copy(meeting, recall.build.user("omar"))
    live(engine, make_context(), a_bot(recall, [copy]).id, RECORDED)
    check_all(make_context)
    assert missed(engine) == {}


def test_a_late_bot_of_the_meeting_itself_resolves_it(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, meeting: FakeMeeting
) -> None:
    """Of which nothing was known at the check; the reason follows what is known."""
    tell(*CHECK)
    bot = a_bot(recall, [meeting])
    live(engine, make_context(), bot.id, LOBBY)
    before = rows(engine, MissedMeeting)[0].found_at
    tell(*CHECK)
    assert missed(engine) == {meeting.id: ("not_admitted", "timeout_exceeded_waiting_room")}
    assert rows(engine, MissedMeeting)[0].found_at == before
    live(engine, make_context(), bot.id, (("in_call_recording", None),))
    assert missed(engine) == {}


def test_a_meeting_that_was_moved_and_missed_again_is_news(
    engine: Engine, recall: FakeRecall, tell: Tell, meeting: FakeMeeting
) -> None:
    """Also where the first time was resolved."""
    tell(*CHECK)
    with engine.begin() as connection:
        settled = update(MissedMeeting).values(resolved_at=db_now(), found_at=db_now(-3600))
        connection.execute(settled)
    tell(*CHECK)
    assert missed(engine) == {}
    recall.world.reschedule(meeting.id, ago(hours=2), ago(hours=1))
    tell(*CHECK)
    (row,) = rows(engine, MissedMeeting)
    assert (row.resolved_at, row.start_time) == (None, meeting.start_time)
    assert row.found_at > ago(minutes=30)


@pytest.mark.parametrize("page_size", [1, 2, None])
def test_a_list_in_pages_is_judged_whole_or_not_at_all(
    engine: Engine,
    recall: FakeRecall,
    tell: Tell,
    make_context: MakeContext,
    ines: FakeUser,
    page_size: int | None,
) -> None:
    """Where a page is missing, nothing is missed yet, and nothing is resolved."""
    meetings = {recall.build.meeting(ines, start=ago(hours=n)).id for n in (3, 5, 7)}
    recall.world.list_page_size = page_size
    last = -(-3 // (page_size or 3)) - 1
    with recall.faults.during(Fault(path="calendar/meetings", after=last, status=503)):
        assert check_all(make_context).failed == 1
        with pytest.raises(RecallError):
            tell(*CHECK)
    assert missed(engine) == {}
    assert check_all(make_context).failed == 0
    assert set(missed(engine)) == meetings


def test_who_disconnects_keeps_what_was_missed(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, meeting: FakeMeeting
) -> None:
    """The list of their meetings is empty from then on, which proves nothing."""
    check_all(make_context)
    recall.world.disconnect(meeting.user_id, "google")
    check_all(make_context)
    assert set(missed(engine)) == {meeting.id}


def test_nothing_is_stored_of_who_was_erased_meanwhile(
    engine: Engine, recall: FakeRecall, tell: Tell, meeting: FakeMeeting
) -> None:
    """The transaction that writes asks for the tombstone."""

    def erased_meanwhile(body: object) -> object:
        with engine.begin() as connection:
            add_tombstone(connection, WHO, ERASED)
        return body

    fault = Fault(act="transform", path="calendar/meetings", transform=erased_meanwhile)
    with recall.faults.during(fault):
        tell(*CHECK)
    assert count(engine, MissedMeeting) == 0


def test_the_alarm_is_for_what_was_found_in_the_last_day(
    engine: Engine, tell: Tell, meeting: FakeMeeting
) -> None:
    """It says how many and why, and where they are listed; a night later it is over."""
    tell(*CHECK)
    with engine.connect() as connection:
        found = {one.name: one for one in alarms(connection, overview(connection))}
    assert found["meetings_missed"].text == "1 meeting was not recorded in the last day (1 no_bot)"
    assert "/console/missed?unresolved=1" in found["meetings_missed"].remedy
    with engine.begin() as connection:
        connection.execute(update(MissedMeeting).values(found_at=db_now(-86_500)))
    with engine.connect() as connection:
        assert "meetings_missed" not in {
            one.name for one in alarms(connection, overview(connection))
        }


def test_a_missed_meeting_is_told_once_for_its_time(
    engine: Engine, recall: FakeRecall, tell: Tell, meeting: FakeMeeting
) -> None:
    """The next night finds it again, which is no news; moved and missed again is."""
    for _ in range(2):
        tell(*CHECK)
    events = [event for event in rows(engine, Event) if event.type == "meeting.missed"]
    assert [event.meeting_id for event in events] == [meeting.id]
    told_of = events[0].data["missed"]
    assert (told_of["external_id"], told_of["reason"]) == (WHO, "no_bot")
    recall.world.reschedule(meeting.id, ago(hours=2), ago(hours=1))
    tell(*CHECK)
    assert sum(event.type == "meeting.missed" for event in rows(engine, Event)) == 2
