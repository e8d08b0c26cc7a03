"""What changed behind our back: links against the calendar as it is now, and what is amiss."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, insert, update

from models.queries.alarms.alerts import alarms
from models.queries.calendars.findings import FindingFilter, FindingRow, count_findings, findings
from models.queries.service_status import overview
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar_finding import CalendarFinding
from models.tables.link import Link
from models.tables.workspace_state import CALENDAR_SWEEP, WorkspaceState
from tests.conftest import MakeContext
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.world.shapes import Bot as FakeBot
from tests.lab.world.shapes import CalendarUser as FakeUser
from tests.support.cli import Tell, link, teller, told
from tests.support.rows import add_bot, add_delivery, later, rows
from workers.calendars import schedule
from workers.calendars.check import Change, CheckResult
from workers.calendars.nightly import NightlyCheck
from workers.calendars.schedule import NightlyRun, claim_nightly_run, next_nightly_run
from workers.linking.drain import Drain
from workers.shutdown import Stop

WHO = "ines"
CHECK = ("calendar", "check", WHO, "--json")


@pytest.fixture
def tell(database_url: str, recall: FakeRecall) -> Tell:
    """The command line."""
    return teller(database_url, recall)


@pytest.fixture
def ines(recall: FakeRecall) -> FakeUser:
    """A user of one Google calendar."""
    return recall.build.user(WHO)


def soon(hours: float = 20) -> datetime:
    """When a meeting begins that is not over."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)


def waiting(recall: FakeRecall, user: FakeUser) -> FakeBot:
    """A bot that has joined early and recorded nothing yet."""
    return recall.build.bot([recall.build.meeting(user, start=soon())], outcome=None)


def standing(connection: Connection) -> list[FindingRow]:
    """The findings that stand, as every surface lists them."""
    return findings(FindingFilter()).page(connection, 50).rows


def ends(engine: Engine) -> dict[str, tuple[str | None, bool]]:
    """Each bot's link: why it says it ended, and whether it did."""
    return {row.bot_id: (row.end_reason, bool(row.ended_at)) for row in rows(engine, Link)}


def test_a_calendar_as_it_was_changes_nothing(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """Exit code 0."""
    link(engine, make_context(), waiting(recall, ines).id)
    done = recall.build.bot([recall.build.meeting(ines)])
    add_delivery(engine, done.id, "in_call_recording")
    link(engine, make_context(), done.id, code="done")
    result = tell(*CHECK)
    assert (result.exit_code, told(result)["links"], told(result)["changes"]) == (0, 2, [])


def test_faq_narrower_preferences_take_scheduled_bots_away(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """What happens to scheduled bots? They are removed, and their links end."""
    bot = waiting(recall, ines)
    link(engine, make_context(), bot.id)
    recall.world.set_preferences(ines.id, {"record_external": False, "record_internal": False})
    result = tell(*CHECK)
    assert result.exit_code == 1
    assert ends(engine) == {bot.id: ("left_calendar_meetings", True)}
    assert told(result)["changes"][0]["what"] == "ended"


def test_faq_a_second_calendar_clears_the_first(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """Can I connect two Google Calendars? No; but what was recorded stays linked."""
    coming, done = waiting(recall, ines), recall.build.bot([recall.build.meeting(ines)])
    link(engine, make_context(), coming.id)
    link(engine, make_context(), done.id, code="done")
    recall.world.connect(ines.id, "google", "other@north.example")
    tell(*CHECK)
    assert ends(engine) == {coming.id: ("calendar_gone", True), done.id: ("calendar_gone", False)}
    assert tell(*CHECK).exit_code == 0


def test_a_bot_in_mid_recording_keeps_its_link(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """It is annotated, though the bot is not done."""
    bot = waiting(recall, ines)
    link(engine, make_context(), bot.id)
    add_delivery(engine, bot.id, "in_call_recording", occurred_at=later(30))
    Drain(make_context(), Stop()).run()
    recall.world.connect(ines.id, "google", "other@north.example")
    tell(*CHECK)
    assert ends(engine) == {bot.id: ("calendar_gone", False)}


def test_a_meeting_that_is_back_opens_its_link_again(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """Of a bot that recorded nothing yet; a recorded one loses its annotation."""
    coming, done = waiting(recall, ines), recall.build.bot([recall.build.meeting(ines)])
    link(engine, make_context(), coming.id)
    link(engine, make_context(), done.id, code="done")
    with recall.faults.during(Fault(path="calendar/meetings", body="[]", status=200)):
        assert told(tell(*CHECK))["links"] == 2
    assert {reason for reason, _ in ends(engine).values()} == {"calendar_gone"}
    changes = told(tell(*CHECK))["changes"]
    assert {change["what"] for change in changes} == {"reopened"}
    assert ends(engine) == {coming.id: (None, False), done.id: (None, False)}


def test_another_bot_on_the_meeting_ends_the_first_ones_link(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """Recall names the one that is to record it now."""
    first = waiting(recall, ines)
    link(engine, make_context(), first.id)
    meeting = recall.world.meetings[first.calendar_meetings[0].id]
    recall.build.bot([meeting], outcome=None)
    tell(*CHECK)
    assert ends(engine) == {first.id: ("left_calendar_meetings", True)}


def test_a_copy_without_a_bot_is_no_proof(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """The bot of a shared meeting is named at one copy alone."""
    bot = waiting(recall, ines)
    link(engine, make_context(), bot.id)
    recall.world.meetings[bot.calendar_meetings[0].id].bot_id = None
    result = tell(*CHECK)
    assert (result.exit_code, ends(engine)) == (0, {bot.id: (None, False)})


def test_a_user_deleted_at_recall_is_not_made_again_by_the_check(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """The links say that the calendar is gone, and no token is asked."""
    bot = waiting(recall, ines)
    link(engine, make_context(), bot.id)
    recall.world.delete_user(ines.id)
    recall.calls.clear()
    assert tell(*CHECK).exit_code == 1
    assert ends(engine) == {bot.id: ("calendar_gone", True)}
    assert set(recall.calls.counts()) == {"GET calendar/users 200"}
    assert recall.world.users == {}


def test_a_meeting_to_be_recorded_without_a_bot_is_reported(
    engine: Engine, recall: FakeRecall, tell: Tell, ines: FakeUser
) -> None:
    """In status too, until a bot is there."""
    meeting = recall.build.meeting(ines, start=soon())
    (finding,) = told(tell(*CHECK))["findings"]
    assert (finding["kind"], finding["subject"]) == ("will_record_without_bot", meeting.id)
    with engine.connect() as connection:
        found = overview(connection)
        assert found.findings == {"will_record_without_bot": 1}
        assert "will_record_without_bot" in {one.name for one in alarms(connection, found)}
    recall.build.bot([meeting], outcome=None)
    assert tell(*CHECK).exit_code == 0
    with engine.connect() as connection:
        assert standing(connection) == []


def test_two_bots_on_one_meeting_are_reported(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """One of an attendee's Google calendar, and one of another's Outlook: by their iCal UID."""
    bot = waiting(recall, ines)
    omar = recall.build.user("omar", platform="microsoft")
    copy = recall.build.copy(recall.world.meetings[bot.calendar_meetings[0].id], omar)
    second = recall.build.bot([copy], outcome=None)
    link(engine, make_context(), bot.id, second.id)
    (finding,) = told(tell(*CHECK))["findings"]
    assert finding["kind"] == "two_bots_on_one_meeting"
    assert finding["bot_ids"] == sorted([bot.id, second.id])


def test_one_person_under_two_external_ids_is_reported(
    engine: Engine, recall: FakeRecall, tell: Tell, ines: FakeUser
) -> None:
    """By the address of a calendar, which is not kept."""
    double = recall.build.user("Ines")
    double.connection("google").email = ines.connection("google").email
    (finding,) = told(tell(*CHECK))["findings"]
    assert (finding["kind"], finding["subject"]) == ("one_person_two_external_ids", double.id)
    assert str(ines.connection("google").email) not in str(rows(engine, CalendarFinding))


# -- every night ---------------------------------------------------------------


@pytest.fixture
def by_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next night begin half a day from now, whenever a test runs."""
    monkeypatch.setattr(schedule, "NIGHT_HOUR", (datetime.now(UTC).hour + 12) % 24)


@pytest.fixture
def night(engine: Engine, by_day: None) -> NightlyRun:
    """A night's sweep, due and claimed."""
    with engine.begin() as connection:
        assert claim_nightly_run(connection) is None
    make_due(engine)
    with engine.begin() as connection:
        claimed = claim_nightly_run(connection)
    assert claimed is not None
    return claimed


def make_due(engine: Engine) -> None:
    """Let the night come."""
    past = NightlyRun(datetime.now(UTC) - timedelta(minutes=1)).as_json()
    with engine.begin() as connection:
        connection.execute(
            update(WorkspaceState).where(WorkspaceState.key == CALENDAR_SWEEP).values(value=past)
        )


def test_a_night_sweeps_every_calendar_once(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, ines: FakeUser, night: NightlyRun
) -> None:
    """Connected ones, and those that links name: of who is gone no token is asked."""
    recall.build.meeting(recall.build.user("omar"), start=soon())
    gone = recall.build.user("gone")
    bots = [waiting(recall, ines), waiting(recall, gone)]
    link(engine, make_context(), *(bot.id for bot in bots))
    recall.world.connect(ines.id, "google", "other@north.example")
    recall.world.delete_user(gone.id)
    recall.calls.clear()
    done = NightlyCheck(make_context(), Stop(), pace=0).run(night)
    assert (done.users, done.changed, done.failed, done.position) == (3, 2, 0, None)
    assert ends(engine) == {bot.id: ("calendar_gone", True) for bot in bots}
    assert recall.calls.counts()["GET calendar/meetings 200"] == 2
    assert recall.world.user_named("gone") is None
    with engine.begin() as connection:
        assert standing(connection)[0].kind == "will_record_without_bot"
        assert claim_nightly_run(connection) is None


def test_only_one_worker_sweeps_a_night(engine: Engine, night: NightlyRun) -> None:
    """And the next is a day's at most away."""
    with engine.begin() as connection:
        assert claim_nightly_run(connection) is None
    assert night.next_at == next_nightly_run(datetime.now(UTC))


@pytest.mark.parametrize(
    ("now", "begins"),
    [
        ("2026-11-24T02:59:59.999999", "2026-11-24T03:00"),
        ("2026-11-24T03:00", "2026-11-25T03:00"),
        ("2026-11-24T03:29", "2026-11-25T03:00"),
        ("2026-12-31T23:59", "2027-01-01T03:00"),
    ],
)
def test_a_night_begins_at_three_in_the_morning(now: str, begins: str) -> None:
    """In UTC, and always in the future."""
    moment = datetime.fromisoformat(f"{now}+00:00")
    assert next_nightly_run(moment) == datetime.fromisoformat(f"{begins}+00:00")


def test_a_sweep_that_was_cut_off_goes_on_after_its_lease(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, night: NightlyRun
) -> None:
    """Behind the last user it came to."""
    for name in ("a", "b", "c"):
        recall.build.user(name)
    cut = {**night.as_json(), "position": "b", "lease_until": "2026-01-01T00:00:00+00:00"}
    with engine.begin() as connection:
        connection.execute(update(WorkspaceState).values(value=cut))
    with engine.begin() as connection:
        again = claim_nightly_run(connection)
    assert again is not None
    NightlyCheck(make_context(), Stop(), pace=0).run(again)
    assert [call.about for call in recall.calls.all("calendar/meetings")] == ["c"]


def test_a_sweep_waits_while_bots_are_due(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, ines: FakeUser, night: NightlyRun
) -> None:
    """Drains come first: no token and no list until they are through."""
    add_bot(engine, recall.build.bot().id)
    stop = Stop()
    sweep = NightlyCheck(make_context(), stop, pace=0.05)
    make_due(engine)
    assert sweep.start_when_due()
    recall.calls.wait_for(lambda call: call.template == "calendar/users")
    with pytest.raises(TimeoutError):
        recall.calls.wait_for(lambda call: call.template == "calendar/meetings", timeout=0.7)
    with engine.begin() as connection:
        connection.execute(update(Bot).values(due_at=None, settled_at=db_now()))
    recall.calls.wait_for(lambda call: call.template == "calendar/meetings")
    stop.request()
    assert sweep.join(10)


def test_one_calendar_that_fails_stops_no_other(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, night: NightlyRun
) -> None:
    """It is counted, and looked at next night."""
    for name in ("a", "b"):
        recall.build.user(name)
    recall.faults.add(Fault(path="calendar/meetings", times=1, status=503))
    done = NightlyCheck(make_context(), Stop(), pace=0).run(night)
    assert (done.users, done.failed, done.position) == (2, 1, None)


def add_finding(
    engine: Engine, user_id: str, starts_at: datetime | None, subject: str = "m"
) -> None:
    """Store a finding as a night's look would have."""
    about = {"calendar_user_id": user_id, "subject": subject, "kind": "will_record_without_bot"}
    with engine.begin() as connection:
        found = insert(CalendarFinding).values(**about, starts_at=starts_at, bot_ids=[])
        connection.execute(found.values(found_at=db_now()))


@pytest.mark.parametrize("how", ["disconnected", "deleted", "never seen"])
def test_a_night_ends_the_findings_of_who_is_not_connected(
    engine: Engine,
    recall: FakeRecall,
    make_context: MakeContext,
    ines: FakeUser,
    night: NightlyRun,
    how: str,
) -> None:
    """By whoever's hand: nobody looks at that calendar any more, and the alarm would ring on."""
    gone = recall.build.user("gone")
    recall.build.meeting(ines, start=soon())
    if how == "disconnected":
        recall.world.disconnect(gone.id, "google")
    elif how == "deleted":
        recall.world.delete_user(gone.id)
    add_finding(engine, gone.id if how != "never seen" else "nobody", soon())
    NightlyCheck(make_context(), Stop(), pace=0).run(night)
    with engine.begin() as connection:
        assert {found.calendar_user_id for found in standing(connection)} <= {ines.id}


def test_what_has_begun_rings_no_alarm(engine: Engine) -> None:
    """No bot comes for it any more; what is to come, or has no time, counts."""
    now = datetime.now(UTC)
    for number, hours in enumerate((-48, -1, -0.01, 1, 48)):
        add_finding(engine, "user", now + timedelta(hours=hours), f"m{number}")
    with engine.begin() as connection:
        assert count_findings(connection) == {"will_record_without_bot": 2}
        assert len(standing(connection)) == 5
    add_finding(engine, "user", None, "timeless")
    with engine.begin() as connection:
        assert count_findings(connection) == {"will_record_without_bot": 3}


def test_a_list_of_users_that_is_far_too_short_ends_nothing(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, night: NightlyRun
) -> None:
    """An outage, or another workspace's key, must not end everybody's links."""
    users = [recall.build.user(f"crew-{n}") for n in range(12)]
    bots = [waiting(recall, user) for user in users]
    link(engine, make_context(), *(bot.id for bot in bots))
    add_finding(engine, users[0].id, soon())
    with recall.faults.during(Fault(path="calendar/users", body="[]", status=200)):
        NightlyCheck(make_context(), Stop(), pace=0).run(night)
    assert set(ends(engine).values()) == {(None, False)}
    assert len(rows(engine, CalendarFinding)) == 1
    with engine.begin() as connection:
        assert claim_nightly_run(connection) is None


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (CheckResult(), "no links compared, none changed"),
        (CheckResult(1), "1 link compared, none changed"),
        (
            CheckResult(
                3, tuple(Change("b", "m", what, "r") for what in ("ended", "reopened", "annotated"))
            ),
            "3 links compared, 1 ended, 1 reopened, 1 kept, as the bot recorded",
        ),
    ],
)
def test_what_was_compared_is_said_in_words(result: CheckResult, words: str) -> None:
    """Each count with its own noun, and nothing of what did not happen."""
    assert result.in_words() == f"{words}; no meetings missed"
