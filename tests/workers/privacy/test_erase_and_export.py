"""Erasing a person: nothing of theirs is left or comes back, counts and links stay."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from models.settings.environment import Settings
from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import (
    CalendarMeeting,
    CalendarToken,
    CalendarUser,
    ErasedUser,
    MeetingPerson,
)
from models.tables.calendar_finding import CalendarFinding
from models.tables.delivery import Delivery
from models.tables.link import Link, LinkAttempt
from models.tables.missed_meeting import MissedMeeting
from models.tables.recording import Recording
from models.tables.rejection import Rejection
from tests.conftest import SECRET, MakeContext, MakeSettings
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery as Webhook
from tests.lab.sender.events import lifecycle
from tests.lab.sender.sender import Sender
from tests.lab.world.shapes import Bot as FakeBot
from tests.lab.world.shapes import CalendarMeeting as FakeMeeting
from tests.lab.world.shapes import CalendarUser as FakeUser
from tests.support.cli import Tell, link, teller, told
from tests.support.dump import dump
from tests.support.ids import new_id
from tests.support.processes import running, until
from tests.support.rows import add_delivery, bot_row, count, later, rows
from workers.calendars.user_list import keep_users, time_of_list
from workers.db.audit import audit
from workers.linking.drain import Drain
from workers.linking.relink import relink
from workers.privacy.erase import Eraser, holdings
from workers.privacy.retention import Retention
from workers.privacy.tombstones import (
    ERASED,
    add_tombstone,
    is_pseudonym,
    lift_tombstone,
    pseudonym,
)
from workers.recall_api.calendar_schemas import CalendarConnection
from workers.recall_api.calendar_schemas import CalendarUser as ListedUser
from workers.shutdown import Stop

WHO = "ines-4711"
TITLE = "Ines, salary talks"
ADDRESS = "ines.private@example.org"
SECRETS = (WHO, TITLE, "salary", "ines.private", "Ines Example")


@pytest.fixture
def tell(database_url: str, recall: FakeRecall) -> Tell:
    """The command line."""
    return teller(database_url, recall)


@pytest.fixture
def ines(recall: FakeRecall) -> FakeUser:
    """Who is to be erased: connected by an address that tells her name."""
    user = recall.build.user(WHO)
    user.connection("google").email = ADDRESS
    return user


@pytest.fixture
def meeting(recall: FakeRecall, ines: FakeUser) -> FakeMeeting:
    """A meeting that she hosts."""
    meeting = recall.build.meeting(ines)
    meeting.title, meeting.attendees[0].name = TITLE, "Ines Example"
    return meeting


@pytest.fixture
def bot(recall: FakeRecall, meeting: FakeMeeting) -> FakeBot:
    """The bot that recorded her meeting, and tells of her in its metadata."""
    bot = recall.build.bot([meeting])
    bot.metadata = {"for": WHO}
    return bot


def listed_as(user_id: str) -> ListedUser:
    """Her, as List Calendar Users has her."""
    google = CalendarConnection("google", connected=True, email=ADDRESS, id=None)
    return ListedUser(user_id, WHO, (google,), None)


def fill(engine: Engine, tools: Any, bot: FakeBot) -> None:
    """Link her bot, with a payload, an error, a refusal and an audit that all tell of her."""
    body = json.dumps({"event": "bot.done", "data": {"bot": {"id": bot.id, "for": WHO}}}).encode()
    add_delivery(engine, bot.id, "joining_call", body=body)
    Drain(tools, Stop()).run()
    refused = {"reason": "no_matching_signature", "headers": {}, "body": body.upper()}
    user_id = rows(engine, CalendarUser)[0].id
    with engine.begin() as connection:
        connection.execute(insert(Rejection).values(received_at=db_now(), **refused))
        connection.execute(update(LinkAttempt).values(error=f"http_400: {TITLE}"))
        connection.execute(update(Bot).values(last_error=f"http_400: {TITLE}"))
        audit(connection, "cli", "calendar refresh", WHO, {"external_id": WHO})
        finding = {"calendar_user_id": user_id, "bot_ids": []}
        finding |= {"kind": "will_record_without_bot", "subject": "m"}
        connection.execute(insert(CalendarFinding).values(found_at=db_now(), **finding))
        missed = {"meeting_id": "m", "external_id": WHO, "title": TITLE, "reason": "no_bot"}
        times = {name: db_now() for name in ("start_time", "end_time", "found_at")}
        connection.execute(insert(MissedMeeting).values(**missed, **times))
    keep_users(engine, [listed_as(user_id)], time_of_list(engine))


def test_nothing_of_an_erased_person_is_left(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, bot: FakeBot
) -> None:
    """Searched for in every table, payloads, refused requests and audit among them."""
    other = recall.build.bot([recall.build.meeting(recall.build.user())])
    fill(engine, make_context(), bot)
    link(engine, make_context(), other.id)
    before = dump(engine)
    assert [word for word in SECRETS if word not in before] == []
    # Ids and states of recordings stay, and no address of them was ever kept.
    assert "media.example" not in before
    kept = (Link, Bot, Delivery, LinkAttempt, CalendarMeeting, Recording)
    counts = [count(engine, table) for table in kept]
    assert counts[-1] == 2
    done = told(tell("erase", WHO, "--yes", "--json"))["erased"]
    assert done == {
        "meetings": 1,
        "links": 1,
        "payloads": 1,
        "copies": 0,
        "rejections": 1,
        # The link, its recording and its transcript.
        "events": 3,
    }
    after = dump(engine)
    assert [word for word in SECRETS if word in after] == []
    assert counts == [count(engine, table) for table in kept]
    assert count(engine, CalendarToken) == 1
    emptied = {
        (row.title is None, row.meeting_key is None) for row in rows(engine, CalendarMeeting)
    }
    assert emptied == {(True, True), (False, False)}
    assert [row.action for row in rows(engine, Audit)] == ["calendar refresh", "erase"]
    assert rows(engine, Rejection)[0].body is None
    assert recall.world.user_named(WHO) is not None


def test_no_list_of_users_brings_an_erased_person_back(
    engine: Engine, tell: Tell, make_context: MakeContext, bot: FakeBot
) -> None:
    """Recall still lists her, under her name or another; who connects anew is kept again."""
    fill(engine, make_context(), bot)
    tell("erase", WHO, "--yes")
    her = listed_as(rows(engine, CalendarUser)[0].id)
    at = time_of_list(engine)
    keep_users(engine, [her, replace(her, external_id=None)], at)
    keep_users(engine, [replace(her, external_id="another")], at)
    assert [word for word in SECRETS if word in dump(engine)] == []
    (row,) = rows(engine, CalendarUser)
    assert (row.external_id, row.email, row.seen_at) == (pseudonym(WHO), None, None)
    with engine.begin() as connection:
        lift_tombstone(connection, WHO)
    keep_users(engine, [her], at)
    (row,) = rows(engine, CalendarUser)
    assert (row.external_id, row.email) == (WHO, ADDRESS)


def test_an_address_of_her_calendar_is_taken_out_of_others_copies(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """Also where she hosts nothing: Recall's list of users tells it."""
    theirs = recall.build.meeting(recall.build.user("omar"))
    theirs.attendees[1].email = ADDRESS
    link(engine, make_context(), recall.build.bot([theirs]).id)
    keep_users(engine, [listed_as(ines.id)], time_of_list(engine))
    assert told(tell("erase", WHO, "--yes", "--json"))["erased"]["copies"] == 1
    assert ADDRESS not in dump(engine)


def test_missed_meetings_stay_for_a_month(engine: Engine, make_settings: MakeSettings) -> None:
    """By when they were found."""
    missed = {"start_time": db_now(), "end_time": db_now(), "reason": "no_bot"}
    with engine.begin() as connection:
        for days in (29, 31):
            found = insert(MissedMeeting).values(meeting_id=str(days), **missed)
            connection.execute(found.values(found_at=db_now(-days * 86_400)))
    assert Retention(engine, make_settings()).purge() == 1
    assert [row.meeting_id for row in rows(engine, MissedMeeting)] == ["29"]


def test_findings_about_what_is_long_over_go(engine: Engine, make_settings: MakeSettings) -> None:
    """Also of a calendar that no check can read any more; those without a meeting stay."""
    finding = {"calendar_user_id": "u", "kind": "two_bots_on_one_meeting", "bot_ids": []}
    with engine.begin() as connection:
        for subject, ends_at in (("old", db_now(-9 * 86_400)), ("new", db_now()), ("other", None)):
            found = insert(CalendarFinding).values(subject=subject, ends_at=ends_at, **finding)
            connection.execute(found.values(found_at=db_now()))
    assert Retention(engine, make_settings()).purge() == 1
    assert {row.subject for row in rows(engine, CalendarFinding)} == {"new", "other"}


def test_erasing_again_changes_nothing(
    engine: Engine, tell: Tell, make_context: MakeContext, bot: FakeBot
) -> None:
    """It may be cut off and repeated."""
    fill(engine, make_context(), bot)
    tell("erase", WHO, "--yes")
    again = told(tell("erase", WHO, "--yes", "--json"))["erased"]
    assert set(again.values()) == {0}
    assert count(engine, ErasedUser) == 1


def test_a_late_webhook_brings_nothing_back(
    engine: Engine,
    recall: FakeRecall,
    tell: Tell,
    make_context: MakeContext,
    bot: FakeBot,
    ines: FakeUser,
) -> None:
    """Neither of a known bot nor of a new one, though Recall still tells of her; no token asked."""
    fill(engine, make_context(), bot)
    tell("erase", WHO, "--yes")
    recall.calls.clear()
    second = recall.build.meeting(ines)
    second.title = TITLE
    unknown = recall.build.bot([second])
    unknown.metadata = {"for": WHO}
    body = json.dumps({"event": "bot.done", "metadata": {"for": WHO}}).encode()
    for late in (bot, unknown):
        add_delivery(engine, late.id, "done", occurred_at=later(60), body=body)
    Drain(make_context(), Stop()).run()
    assert recall.calls.counts() == {"GET bot/{id} 200": 2}
    assert [word for word in SECRETS if word in dump(engine)] == []
    found = rows(engine, CalendarMeeting)
    assert {(row.state, row.reason, row.title) for row in found} == {
        ("unfetchable", "user_erased", None)
    }
    assert {(row.external_id, row.end_reason) for row in rows(engine, Link)} == {
        (pseudonym(WHO), "user_erased")
    }
    assert {row.link_state for row in rows(engine, Bot)} == {"linked"}
    add_delivery(engine, bot.id, "media_expired", occurred_at=later(90), body=body)
    Drain(make_context(), Stop()).run()
    assert [word for word in SECRETS if word in dump(engine)] == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(act="slow", path="bot/{id}"),
        Fault(act="transform", path="bot/{id}", patch={"calendar_meetings": []}),
        Fault(path="bot/{id}", status=400, body=json.dumps({"detail": f"{WHO} is bad"})),
    ],
    ids=["as before", "without the meeting", "refused"],
)
@pytest.mark.parametrize("has_reconnected", [False, True])
def test_no_later_look_up_brings_anything_back(
    engine: Engine,
    tell: Tell,
    make_context: MakeContext,
    recall: FakeRecall,
    bot: FakeBot,
    fault: Fault,
    has_reconnected: bool,
) -> None:
    """Whatever Recall answers: rows, attempts and events stay empty, as the links on file say."""
    fill(engine, make_context(), bot)
    tell("erase", WHO, "--yes")
    recall.faults.add(fault)
    if has_reconnected:
        # What is of now is kept again, and this answer is only of what was erased before.
        bot.calendar_meetings.clear()
        with engine.begin() as connection:
            lift_tombstone(connection, WHO)
    add_delivery(engine, bot.id, "done", body=b"{}", occurred_at=later(600))
    Drain(make_context(), Stop()).run()
    assert count(engine, LinkAttempt) == 2
    assert [word for word in SECRETS if word in dump(engine)] == []
    found = bot_row(engine, bot.id)
    assert (found.bot_name, found.metadata, found.meeting_url) == (None, None, None)


def test_late_payloads_that_nothing_applies_go_within_the_hour(
    engine: Engine, tell: Tell, make_context: MakeContext, make_settings: MakeSettings, bot: FakeBot
) -> None:
    """A `bot.log` of her bot; what concerns others stays."""
    fill(engine, make_context(), bot)
    tell("erase", WHO, "--yes")
    late = {"event": "bot.log", "outcome": "ignored"}
    add_delivery(engine, bot.id, None, body=WHO.encode(), **late)
    add_delivery(engine, new_id(), None, body=b"theirs", **late)
    assert Retention(engine, make_settings()).purge() == 1
    assert WHO not in dump(engine)
    assert b"theirs" in {row.body for row in rows(engine, Delivery)}


def test_a_relink_asks_no_token_for_the_erased(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, bot: FakeBot
) -> None:
    """Neither for her nor for the name her rows go by, which would become a user at Recall."""
    link(engine, make_context(), bot.id, code="done")
    tell("erase", WHO, "--yes")
    recall.world.delete_user(next(iter(recall.world.users)))
    for _ in range(2):
        with engine.begin() as connection:
            relink(connection, [bot.id])
            connection.execute(update(CalendarMeeting).values(state="owed"))
            # As a retry that need not read the bot again: the stored names are all it has.
            connection.execute(update(Bot).values(fetched_at=db_now(), due_at=db_now(-1)))
        Drain(make_context(), Stop()).run()
    assert recall.world.users == {}
    assert recall.calls.all("calendar/authenticate", about=pseudonym(WHO)) == []
    (found,) = rows(engine, CalendarMeeting)
    assert (found.state, found.reason) == ("unfetchable", "user_erased")


def test_a_meeting_fetched_in_the_moment_before_is_not_kept(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, bot: FakeBot
) -> None:
    """The settle asks once more whether she is erased, in the transaction that writes."""

    def erased_meanwhile(body: Any) -> Any:
        with engine.begin() as connection:
            add_tombstone(connection, WHO, ERASED)
        return body

    recall.faults.add(_transform("calendar/meetings/{id}", erased_meanwhile))
    link(engine, make_context(), bot.id)
    assert [word for word in SECRETS if word in dump(engine)] == []
    assert len(recall.calls.all("calendar/meetings/{id}", status=200)) == 1


def _transform(path: str, transform: Any) -> Any:
    return Fault(act="transform", path=path, transform=transform)


def test_a_bot_shared_with_somebody_keeps_what_is_theirs(
    engine: Engine,
    recall: FakeRecall,
    tell: Tell,
    make_context: MakeContext,
    meeting: FakeMeeting,
) -> None:
    """The other's copy stays, without her among its people; the meeting's address stays."""
    colleague = recall.build.user("omar")
    copy = recall.build.copy(meeting, colleague)
    copy.title = "Talks"
    shared = recall.build.bot([meeting, copy])
    link(engine, make_context(), shared.id)
    done = told(tell("erase", WHO, "--yes", "--json"))["erased"]
    assert (done["meetings"], done["copies"]) == (1, 1)
    (theirs,) = rows(engine, CalendarMeeting, id=copy.id)
    assert (theirs.title, theirs.organizer_email) == ("Talks", None)
    assert [one["email"] for one in theirs.attendees] == [meeting.attendees[1].email]
    assert "ines.private@example.org" not in {row.email for row in rows(engine, MeetingPerson)}
    assert bot_row(engine, shared.id).meeting_url is not None
    ended = {row.external_id: row.end_reason for row in rows(engine, Link)}
    assert ended == {pseudonym(WHO): "user_erased", "omar": None}


def test_a_link_that_recorded_is_annotated_and_another_ended(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """What a bot recorded was recorded, whoever is forgotten."""
    done, coming = (recall.build.bot([recall.build.meeting(ines)]) for _ in range(2))
    link(engine, make_context(), done.id, code="done")
    link(engine, make_context(), coming.id)
    tell("erase", WHO, "--yes")
    ended = {row.bot_id: row.ended_at is not None for row in rows(engine, Link)}
    assert ended == {done.id: False, coming.id: True}
    assert {row.end_reason for row in rows(engine, Link)} == {"user_erased"}


def test_a_dry_run_changes_nothing_and_yes_must_be_said(
    engine: Engine, tell: Tell, make_context: MakeContext, bot: FakeBot
) -> None:
    """A preview counts; a pipe is not asked."""
    fill(engine, make_context(), bot)
    before = dump(engine)
    held = told(tell("erase", WHO, "--preview", "--json"))["held"]
    assert (held["meetings"], held["bots"]) == (1, 1)
    assert held["addresses"] == ["ines.private@example.org"]
    assert tell("erase", WHO).exit_code == 2
    assert dump(engine) == before


def test_somebody_unknown_gets_a_tombstone_beforehand(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, bot: FakeBot
) -> None:
    """Before the first webhook of a meeting of theirs has come."""
    assert tell("erase", WHO, "--yes").exit_code == 0
    link(engine, make_context(), bot.id)
    assert recall.calls.all("calendar/authenticate") == []
    assert [word for word in SECRETS if word in dump(engine)] == []


def test_titles_of_the_erased_are_found_no_more(
    engine: Engine, tell: Tell, make_context: MakeContext, bot: FakeBot
) -> None:
    """Not by their words either."""
    link(engine, make_context(), bot.id)
    assert tell("links", "--title", "salary").exit_code == 0
    tell("erase", WHO, "--yes")
    assert tell("links", "--title", "salary").exit_code == 1
    assert tell("links", "--external-id", WHO).exit_code == 1


def test_an_export_is_everything_that_is_held(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, bot: FakeBot
) -> None:
    """One JSON object, a list for each table; nobody else's rows, no token."""
    other = recall.build.bot([recall.build.meeting(recall.build.user())])
    fill(engine, make_context(), bot)
    link(engine, make_context(), other.id)
    result = tell("export", WHO)
    found = told(result)
    assert (result.exit_code, found["external_id"]) == (0, WHO)
    counts = {name: len(items) for name, items in found.items() if isinstance(items, list)}
    assert counts == {
        "calendar_users": 1,
        "links": 1,
        "calendar_meetings": 1,
        "meeting_people": 2,
        "others_copies": 0,
        "bots": 1,
        "bot_statuses": 1,
        "recordings": 1,
        "deliveries": 1,
        "link_attempts": 1,
        # The link, its recording and its transcript.
        "events": 3,
        "rejections": 1,
        "calendar_findings": 1,
        "missed_meetings": 1,
        "calendar_tokens": 1,
        "erased_users": 0,
        # The refresh, and this export.
        "audit": 2,
    }
    assert found["calendar_meetings"][0]["title"] == TITLE
    (user,) = found["calendar_users"]
    assert (user["email"], user["google_connected"]) == (ADDRESS, True)
    assert found["missed_meetings"][0]["title"] == TITLE
    assert found["recordings"][0]["bot_id"] == bot.id
    # Codes, times and sub codes of the body, beside the one status that a webhook reported.
    codes = {code for _, code, _ in found["bots"][0]["body_statuses"]}
    assert codes >= {"in_call_recording", "call_ended", "recording_done", "done"}
    assert json.loads(found["deliveries"][0]["body"])["data"]["bot"]["id"] == bot.id
    assert set(found["calendar_tokens"][0]) == {"expires_at"}
    assert other.id not in result.stdout


def test_an_export_of_the_erased_tells_what_is_left(
    engine: Engine, tell: Tell, make_context: MakeContext, bot: FakeBot
) -> None:
    """Links without a name, and the tombstone; of a stranger nothing."""
    fill(engine, make_context(), bot)
    tell("erase", WHO, "--yes")
    found = told(tell("export", WHO))
    assert is_pseudonym(found["links"][0]["external_id"])
    assert found["erased_users"][0]["reason"] == "erased"
    assert found["deliveries"][0]["body"] == ""
    assert WHO not in dump(engine)
    for _ in range(2):
        assert tell("export", "nobody").exit_code == 1


def test_a_busy_persons_data_goes_in_batches(
    engine: Engine,
    recall: FakeRecall,
    make_context: MakeContext,
    ines: FakeUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each a transaction, so that no statement is long."""
    monkeypatch.setattr("workers.privacy.erase.batches.__defaults__", (2,))
    bots = [recall.build.bot([recall.build.meeting(ines)]) for _ in range(5)]
    link(engine, make_context(), *(bot.id for bot in bots))
    with engine.connect() as connection:
        held = holdings(connection, WHO)
    steps = list(Eraser(engine, "test").erase(held))
    # Three of meetings, three of bots, the events that say her address, and the rest.
    assert len(steps) == 8
    assert (steps[-1].meetings, steps[-1].links) == (5, 5)


def test_signed_webhooks_bring_nothing_back_either(
    engine: Engine,
    database_url: str,
    recall: FakeRecall,
    tell: Tell,
    bot: FakeBot,
    tmp_path: Path,
) -> None:
    """The whole service, as deployed: erased in mid-life, and the rest of the life comes in."""
    events = lifecycle(bot, generation="v1.11", noise=True)
    webhooks = [Webhook.of(event, family="webhook") for event in events]
    with running(database_url, recall, tmp_path, SWEEP_SECONDS=0.2) as stack:
        sender = Sender(f"{stack.url}/webhooks/recall", [SECRET])
        sender.run(webhooks[:2])
        until(lambda: [row.title for row in rows(engine, CalendarMeeting)] == [TITLE], "its link")
        assert tell("erase", WHO, "--yes").exit_code == 0
        recall.calls.clear()
        sender.run(webhooks[2:])
        until(lambda: bot_row(engine, bot.id).sealed_at is not None, "the last word")
        Retention(engine, Settings.read({"DATABASE_URL": database_url})).purge()
        assert recall.calls.all("calendar/authenticate") == []
    assert len(rows(engine, Delivery)) == len(webhooks)
    assert [word for word in SECRETS if word in dump(engine)] == []
    logs = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert [word for word in SECRETS if word in logs] == []
