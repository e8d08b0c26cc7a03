"""A person by an address: a guest leaves no trace, others' data stays; a user is erased whole."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from models.tables.calendar import CalendarMeeting, CalendarUser, ErasedUser, MeetingPerson
from models.tables.calendar_finding import CalendarFinding
from models.tables.delivery import Delivery
from models.tables.event import Event
from models.tables.link import LinkAttempt
from models.tables.missed_meeting import MissedMeeting
from models.tables.rejection import Rejection
from tests.conftest import MakeContext
from tests.lab.recall import FakeRecall
from tests.support.cli import Tell, link, teller, told
from tests.support.dump import dump
from tests.support.fakes import BOT, MEETINGS, ref
from tests.support.ids import new_id
from tests.support.rows import add_bot, add_delivery, count, rows
from tests.workers.linking.test_save_bots import body, found, outcome_for, owe_again, save_now
from webhook.services.people import People
from webhook.services.reader import Reader
from workers.db.audit import audit
from workers.linking.context import WorkerContext
from workers.outbox.write import Subject, write_event
from workers.privacy.erase import Eraser, holdings
from workers.privacy.mentions import Mentions
from workers.privacy.person import PersonEraser, find_person
from workers.privacy.tombstones import pseudonym

GUEST, NAME = "Gwen.Guest@example.org", "Gwen Guest"
ADDRESS = GUEST.lower()
TITLE = f"Interview: {NAME} ({ADDRESS})"
OTHER = "hugwen.guest@example.org"
MISSED = {"meeting_id": "m", "title": TITLE, "reason": "no_bot"}


@pytest.fixture
def tell(database_url: str, recall: FakeRecall) -> Tell:
    """The command line on this test's database."""
    return teller(database_url, recall)


@pytest.fixture
def bot_id(engine: Engine, recall: FakeRecall, make_context: MakeContext) -> str:
    """The bot of a meeting with a guest, which whatever is stored names."""
    meeting = recall.build.meeting(recall.build.user("omar"))
    meeting.title = TITLE
    guest, other = meeting.attendees[1:3] if len(meeting.attendees) > 2 else meeting.attendees[:2]
    guest.email, guest.name = GUEST, NAME
    other.email, other.name = OTHER, NAME
    bot = recall.build.bot([meeting])
    bot.metadata = {"for": f"mailto:{ADDRESS}", GUEST: "key"}
    _fill(engine, make_context(), bot.id)
    return bot.id


def _fill(engine: Engine, tools: WorkerContext, bot_id: str) -> None:
    body = json.dumps({"event": "bot.done", "for": GUEST}).encode()
    escaped = body.replace(b"@", b"\\u0040")
    add_delivery(engine, bot_id, "joining_call", body=body, message=f"for {NAME}")
    link(engine, tools, bot_id)
    add_delivery(engine, None, None, outcome="ignored", body=escaped)
    add_delivery(engine, None, None, outcome="ignored", body=b"theirs")
    times = {name: db_now() for name in ("start_time", "end_time", "found_at")}
    with engine.begin() as connection:
        connection.execute(update(BotStatus).values(message=f"{NAME} left"))
        connection.execute(update(LinkAttempt).values(error=f"http_400: {ADDRESS}"))
        connection.execute(update(Bot).values(bot_name=NAME, last_error=f"http_400: {GUEST}"))
        for kept in (body, b"theirs"):
            refused = {"reason": "no_matching_signature", "headers": {}, "body": kept}
            connection.execute(insert(Rejection).values(received_at=db_now(), **refused))
        connection.execute(insert(MissedMeeting).values(**MISSED, **times))
        finding: dict[str, Any] = {"calendar_user_id": "u", "bot_ids": [], "subject": "m"}
        finding |= {"kind": "will_record_without_bot", "title": TITLE, "found_at": db_now()}
        connection.execute(insert(CalendarFinding).values(**finding))
        connection.execute(insert(CalendarUser).values(id="nameless", email=ADDRESS))
        event = {"id": "evt_1", "type": "meeting.missed", "data": {"title": TITLE}}
        connection.execute(insert(Event).values(created_at=db_now(), **event))
        audit(connection, "ann", "relink", None, {"filter": {"email": ADDRESS}})


def test_nothing_of_an_erased_guest_is_left(engine: Engine, tell: Tell, bot_id: str) -> None:
    """Searched for in every value of every table; what is others' stays, and no tombstone."""
    assert tell("person", GUEST, "--json").exit_code == 0
    assert ADDRESS in dump(engine).lower().replace(OTHER, "")
    kept = [count(engine, table) for table in (Delivery, Rejection, CalendarMeeting, Bot)]
    done = told(tell("person", GUEST, "--erase", "--yes", "--json"))["erased"]
    assert done["users"] == {}
    assert +Counter(done["guest"]) == {
        "bot_statuses": 1,
        "bots": 1,
        "calendar_findings": 1,
        "calendar_meetings": 1,
        "calendar_users": 1,
        "deliveries": 2,
        "events": 4,
        "link_attempts": 1,
        "meeting_people": 1,
        "missed_meetings": 1,
        "rejections": 1,
    }
    after = dump(engine).lower().replace(OTHER, "")
    assert ADDRESS not in after
    assert ADDRESS.replace("@", "\\u0040") not in after
    assert "theirs" in after
    assert kept == [count(engine, table) for table in (Delivery, Rejection, CalendarMeeting, Bot)]
    assert count(engine, ErasedUser) == 0
    (meeting,) = rows(engine, CalendarMeeting)
    assert meeting.title == "Interview: [erased] ([erased])"
    # Another attendee has the same name, and keeps it.
    assert [one["name"] for one in meeting.attendees if one["email"] == OTHER] == [NAME]
    assert OTHER in {row.email for row in rows(engine, MeetingPerson)}
    # The relink, the export and the erasing.
    whose = pseudonym(ADDRESS)
    assert [row.subject for row in rows(engine, Audit)] == [None, whose, whose]
    assert tell("person", GUEST).exit_code == 1
    assert tell("links", "--title", "Gwen").exit_code == 1
    assert tell("links", "--title", "Interview").exit_code == 0


def test_a_guest_is_shown_where_they_are_named(engine: Engine, tell: Tell, bot_id: str) -> None:
    """Counts by table; the export has their own part of a meeting, and no more of it."""
    counts = {
        line.split("\t")[1]: line.split("\t")[2]
        for line in tell("person", ADDRESS).stdout.splitlines()[1:]
    }
    assert (counts["calendar_meetings"], counts["deliveries"]) == ("1", "2")
    found = told(tell("person", ADDRESS, "--json"))
    (guest,) = found["people"]
    assert guest["external_id"] is None
    (meeting,) = guest["meetings"]
    assert ([one["email"] for one in meeting["attendee"]], meeting["title"]) == ([GUEST], TITLE)
    assert guest["bots"] == [{"id": bot_id, "named_in": ["bot_name", "last_error", "metadata"]}]
    exported = rows(engine, Audit)[-1]
    assert (exported.action, exported.subject) == ("export", ADDRESS)
    assert exported.actor.startswith("cli ")


def test_a_calendar_user_is_erased_by_their_address(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, bot_id: str
) -> None:
    """With the tombstone, and with their entries in others' meetings."""
    own = recall.build.meeting(recall.build.user("gwen-1"))
    own.title = "Salary talks"
    link(engine, make_context(), recall.build.bot([own]).id)
    with engine.begin() as connection:
        theirs = CalendarUser.external_id == "gwen-1"
        connection.execute(update(CalendarUser).where(theirs).values(email=ADDRESS))
    done = told(tell("person", ADDRESS, "--erase", "--yes", "--json"))["erased"]
    assert done["users"]["gwen-1"]["meetings"] == 1
    assert done["guest"]["calendar_meetings"] == 1
    after = dump(engine).lower().replace(OTHER, "")
    assert [word for word in (ADDRESS, "gwen-1", "salary") if word in after] == []
    assert count(engine, ErasedUser) == 1


def test_an_interrupted_erase_is_recorded_and_repeated(engine: Engine, bot_id: str) -> None:
    """As far as it came; the second time completes it."""
    people = People(Reader(engine), engine)
    found, _ = people.find(GUEST)
    assert not people.erase_for(0, found, "ann").is_complete
    last = rows(engine, Audit)[-1]
    assert (last.actor, last.action, last.subject) == ("ann", "erase", pseudonym(ADDRESS))
    assert last.details["is_complete"] is False
    found, _ = people.find(GUEST)
    assert people.erase_for(60, found, "ann").is_complete
    assert ADDRESS not in dump(engine).lower().replace(OTHER, "")


def test_erasing_must_be_confirmed(engine: Engine, tell: Tell, bot_id: str) -> None:
    """A pipe is not asked; of an address that nobody has, nothing is stored."""
    before = dump(engine)
    assert tell("person", ADDRESS, "--erase").exit_code == 2
    assert tell("person", "nobody@example.org").exit_code == 1
    assert tell("person", " ").exit_code == 2
    assert dump(engine) == before


@pytest.mark.parametrize("address", ["gwen.guest@example.org", "gwénaëlle_o@example.org"])
@pytest.mark.parametrize("is_user", [False, True])
def test_no_event_names_an_erased_person(engine: Engine, address: str, *, is_user: bool) -> None:
    """Whatever it is about: others may host the meeting since, and a bot may have no link."""
    add_bot(engine, BOT)
    for host in (address, "tom@example.org"):
        hosted = found(0, organizer_email=host, people=frozenset({host}))
        save_now(engine, outcome_for(owe_again(engine), bot=body(ref(0)), fetched=(hosted,)))
    told_of = f"Talks: {address.replace('@', '%40')}, {address.upper()} and hu{address}"
    with engine.begin() as connection:
        missed = {"missed": {"meeting_title": told_of, "bot_id": new_id()}}
        write_event(connection, "meeting.missed", Subject(new_id(), MEETINGS[1], "omar"), missed)
        connection.execute(insert(CalendarUser).values(id="u", external_id="gwen", email=address))
        held, person = holdings(connection, "gwen"), find_person(connection, address)
        assert [one.place.name for one in person.guest.find(connection)] == ["events"] * 2
    guest = replace(person, users=())
    [*(Eraser(engine, "ann").erase(held) if is_user else PersonEraser(engine, "ann").erase(guest))]
    left = json.dumps([event.data for event in rows(engine, Event)], ensure_ascii=False)
    assert address not in left.lower().replace(f"hu{address}", "")
    assert f"Talks: [erased], [erased] and hu{address}" in left
    assert left.count("tom@example.org") == 1


@pytest.mark.parametrize(
    ("value", "without"),
    [
        ("ADA@x.org", None),
        ("to ada@x.org, bo@x.org", "to [erased], bo@x.org"),
        ("nada@x.org ada@x.org.uk ada@x.organic", "nada@x.org ada@x.org.uk ada@x.organic"),
        ("q=%3Dada%40x.org.", "q=%3D[erased]."),
        ("Adam met ADA.", "Adam met [erased]."),
        ({"Ada": ["Ada", 1, None]}, {"[erased]": [None, 1, None]}),
        ("", ""),
    ],
)
def test_names_and_addresses_are_found_whole(value: Any, without: Any) -> None:
    """In any case, in texts and JSON, and inside no other word."""
    assert Mentions("ada@x.org", ("Ada",)).without(value) == without


def test_a_name_that_is_none_is_sought_in_their_meetings_alone() -> None:
    """Whoever invites somebody picks it; it may not empty every payload."""
    mentions = Mentions("ada@x.org", ('": {', "Ada", "Ada Lovelace", "bot. 1"))
    assert mentions.elsewhere.names == ("Ada Lovelace",)
    assert not mentions.are_in(b'{"data": {"bot": 1}, "for": "Ada"}')
    assert mentions.are_in(b'{"data": {"for": "ADA LOVELACE"}}')
