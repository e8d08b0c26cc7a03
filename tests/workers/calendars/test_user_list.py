"""What is kept of List Calendar Users: by night for all of them, on demand for one."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, insert, update

from models.queries.calendars.calendar_users import (
    CalendarUserFilter,
    CalendarUserRow,
    calendar_users,
)
from models.tables.base import db_now
from models.tables.calendar import CalendarUser
from models.tables.calendar_finding import CalendarFinding
from tests.conftest import MakeContext
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.world.shapes import CalendarUser as FakeUser
from tests.support.cli import Tell, link, teller, told
from tests.support.rows import rows
from workers.calendars import schedule
from workers.calendars.nightly import NightlyCheck
from workers.calendars.schedule import NightlyRun
from workers.calendars.user_list import keep_users, time_of_list
from workers.recall_api.calendar_schemas import CalendarConnection
from workers.recall_api.calendar_schemas import CalendarUser as ListedUser
from workers.shutdown import Stop

WHO = "ines"
ADDRESS = "ines@north.example"


@pytest.fixture
def tell(database_url: str, recall: FakeRecall) -> Tell:
    """The command line."""
    return teller(database_url, recall)


@pytest.fixture
def ines(recall: FakeRecall) -> FakeUser:
    """A user of one Google calendar."""
    user = recall.build.user(WHO)
    user.connection("google").email = ADDRESS
    return user


def check_all(make_context: MakeContext) -> NightlyRun:
    """Let one night pass."""
    run = NightlyRun(schedule.next_nightly_run(datetime.now(UTC)))
    return NightlyCheck(make_context(), Stop(), pace=0).run(run)


def kept(engine: Engine, user_id: str) -> CalendarUserRow:
    """One user, as the list shows them."""
    with engine.connect() as connection:
        listed = {row.calendar_user_id: row for row in calendar_users(NOBODY).all(connection)}
    return listed[user_id]


NOBODY = CalendarUserFilter()


def test_a_night_keeps_what_the_list_says(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, ines: FakeUser
) -> None:
    """Of every user, also of those without a calendar or a link; in pages as in one piece."""
    omar = recall.build.user("omar", platform="microsoft")
    recall.world.disconnect(recall.build.user("zoe").id, "google")
    recall.world.list_page_size = 2
    check_all(make_context)
    found = {row.external_id: row for row in rows(engine, CalendarUser)}
    assert set(found) == {WHO, "omar", "zoe"}
    connected = {n: (r.google_connected, r.microsoft_connected) for n, r in found.items()}
    assert connected == {WHO: (True, False), "omar": (False, True), "zoe": (False, False)}
    assert (found[WHO].email, found["zoe"].email) == (ADDRESS, None)
    assert found["omar"].email == omar.connection("microsoft").email
    assert all(row.seen_at and not row.gone_at for row in found.values())


def test_who_disconnects_keeps_the_last_address(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """That is whom an operator writes to; `calendar users --disconnected` names them."""
    recall.build.user("omar")
    check_all(make_context)
    assert tell("calendar", "users", "--disconnected").exit_code == 1
    recall.world.disconnect(ines.id, "google")
    check_all(make_context)
    result = tell("calendar", "users", "--disconnected", "--json")
    (found,) = told(result)["items"]
    assert (found["external_id"], found["email"]) == (WHO, ADDRESS)
    assert (found["google_connected"], found["gone_at"]) == (False, None)


def test_who_is_deleted_at_recall_is_gone_until_they_are_back(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """No longer disconnected, but gone; a user who comes back has another id."""
    check_all(make_context)
    recall.world.delete_user(ines.id)
    recall.build.user("omar")
    check_all(make_context)
    assert [
        one["external_id"] for one in told(tell("calendar", "users", "--gone", "--json"))["items"]
    ] == [WHO]
    assert tell("calendar", "users", "--disconnected").exit_code == 1
    recall.build.user(WHO)
    check_all(make_context)
    gone = {row.id: row.gone_at is not None for row in rows(engine, CalendarUser, external_id=WHO)}
    assert sorted(gone.values()) == [False, True]
    assert gone[ines.id]


def test_a_user_known_by_a_link_alone_is_gone_too(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, ines: FakeUser
) -> None:
    """As rows that an older release wrote are."""
    link(engine, make_context(), recall.build.bot([recall.build.meeting(ines)]).id, code="done")
    assert kept(engine, ines.id).seen_at is None
    recall.world.delete_user(ines.id)
    check_all(make_context)
    assert kept(engine, ines.id).gone_at is not None


@pytest.mark.parametrize("fault", ["cut", "too short"])
def test_a_part_of_the_list_is_never_taken_for_the_whole(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, fault: str
) -> None:
    """Nobody is gone and no finding ends for a page that is missing, or a list that is short."""
    users = [recall.build.user(f"crew-{n}") for n in range(12)]
    check_all(make_context)
    before = rows(engine, CalendarUser)
    add_finding(engine, users[0].id)
    recall.world.list_page_size = 4
    bad = Fault(path="calendar/users", after=1, status=503)
    if fault == "too short":
        bad = Fault(path="calendar/users", body="[]", status=200)
    with recall.faults.during(bad):
        check_all(make_context)
    assert rows(engine, CalendarUser) == before
    assert len(rows(engine, CalendarFinding)) == 1


def test_a_list_of_strangers_is_not_kept(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """As another workspace's key would show: none of them is ours."""
    ours = [recall.build.user(f"crew-{n}").id for n in range(12)]
    check_all(make_context)
    for user_id in ours:
        recall.world.delete_user(user_id)
    recall.build.user("stranger")
    check_all(make_context)
    assert {row.id for row in rows(engine, CalendarUser)} == set(ours)
    assert {row.gone_at for row in rows(engine, CalendarUser)} == {None}


def test_a_short_list_does_not_end_a_users_links_on_demand(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext
) -> None:
    """The check of one user says that it could not be done."""
    for number in range(12):
        recall.build.user(f"crew-{number}")
    check_all(make_context)
    with (
        recall.faults.during(Fault(path="calendar/users", body="[]", status=200)),
        pytest.raises(Exception, match="too short"),
    ):
        tell("calendar", "check", "crew-3")
    assert {row.gone_at for row in rows(engine, CalendarUser)} == {None}


def test_what_is_done_to_one_user_is_known_at_once(
    engine: Engine, recall: FakeRecall, tell: Tell, ines: FakeUser
) -> None:
    """Asked for, disconnected, deleted: without waiting for the night."""
    tell("calendar", "user", WHO)
    assert kept(engine, ines.id).google_connected is True
    tell("calendar", "disconnect", WHO, "--platform", "google", "--yes")
    assert kept(engine, ines.id).google_connected is False
    tell("calendar", "delete-user", WHO, "--yes")
    assert kept(engine, ines.id).gone_at is not None


def test_a_user_who_was_deleted_elsewhere_is_gone_by_their_check(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """Recall's list does not have them; their links say so as well."""
    link(engine, make_context(), recall.build.bot([recall.build.meeting(ines)]).id, code="done")
    recall.world.delete_user(ines.id)
    assert tell("calendar", "check", WHO).exit_code == 1
    assert kept(engine, ines.id).gone_at is not None


def listed(connected: bool, email: str | None = ADDRESS) -> ListedUser:
    """A user as a list has them."""
    google = CalendarConnection("google", connected, email, None)
    return ListedUser("3fa85f64-5717-4562-b3fc-2c963f66afa6", WHO, (google,), None)


def test_a_list_that_was_read_earlier_replaces_nothing(engine: Engine) -> None:
    """Two may be under way at once, and the slower one is the older news."""
    earlier = time_of_list(engine)
    later = earlier + timedelta(milliseconds=5)
    keep_users(engine, [listed(connected=False)], later)
    keep_users(engine, [listed(connected=True)], earlier)
    assert rows(engine, CalendarUser)[0].google_connected is False
    keep_users(engine, [listed(connected=True, email="new@north.example")], later)
    assert rows(engine, CalendarUser)[0].email == "new@north.example"


def test_a_finding_about_a_double_ends_when_the_double_is_gone(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """By the list alone, of which the night's check makes use before it comes to anybody."""
    double = recall.build.user("Ines")
    double.connection("google").email = ADDRESS
    check_all(make_context)
    (found,) = told(tell("calendar", "findings", "--external-id", WHO, "--json"))["items"]
    assert (found["other_external_id"], found["subject"]) == ("Ines", double.id)
    recall.world.disconnect(double.id, "google")
    with recall.faults.during(Fault(path="calendar/meetings", status=503)):
        check_all(make_context)
    assert tell("calendar", "findings").exit_code == 1


def add_finding(engine: Engine, user_id: str) -> None:
    """Store a finding as a night's check would have."""
    about = {"calendar_user_id": user_id, "subject": "m", "kind": "two_bots_on_one_meeting"}
    with engine.begin() as connection:
        found = insert(CalendarFinding).values(**about, bot_ids=[], found_at=db_now())
        connection.execute(found)


def test_a_finding_stands_until_its_meeting_is_over(
    engine: Engine, recall: FakeRecall, tell: Tell, ines: FakeUser
) -> None:
    """Nothing needs to be checked again for that; it has the meeting's title."""
    meeting = recall.build.meeting(ines, start=datetime.now(UTC) + timedelta(hours=2))
    tell("calendar", "check", WHO)
    (found,) = told(tell("calendar", "findings", "--json"))["items"]
    assert (found["meeting_title"], found["external_id"]) == (meeting.title, WHO)
    with engine.begin() as connection:
        connection.execute(update(CalendarFinding).values(ends_at=db_now(-1)))
    assert tell("calendar", "findings").exit_code == 1


def test_a_finding_of_a_missing_bot_ends_when_the_bot_is_linked(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """At once, and not only at the next check; a bot of another time is none."""
    meeting = recall.build.meeting(ines, start=datetime.now(UTC) + timedelta(hours=2))
    tell("calendar", "check", WHO)
    bot = recall.build.bot([meeting], outcome=None)
    link(engine, make_context(), bot.id)
    assert tell("calendar", "findings").exit_code == 1
    with engine.begin() as connection:
        moved = update(CalendarFinding).values(starts_at=db_now(7200), ends_at=db_now(9000))
        connection.execute(moved)
    assert tell("calendar", "findings").exit_code == 0


def test_a_finding_keeps_the_time_at_which_it_was_found(
    engine: Engine, recall: FakeRecall, tell: Tell, ines: FakeUser
) -> None:
    """So that what is new can be told from what was there last night."""
    recall.build.meeting(ines, start=datetime.now(UTC) + timedelta(hours=2))
    tell("calendar", "check", WHO)
    (before,) = rows(engine, CalendarFinding)
    tell("calendar", "check", WHO)
    assert rows(engine, CalendarFinding) == [before]
