"""The search in the header: to the one hit, or to the kinds of hits; hostile text stays text."""

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert, update

from models.tables.base import db_now
from models.tables.calendar import CalendarMeeting, CalendarUser, MeetingPerson
from models.tables.delivery import Delivery
from models.tables.link import Link
from models.tables.rejection import Rejection
from tests.support.fakes import BOT, MEETINGS
from tests.support.rows import add_bot, add_delivery

NEW_BOT = "ffffffff-0000-4000-8000-000000000001"
TALKS = "/console/links?title=talks"


@pytest.fixture
def linked(engine: Engine) -> Engine:
    """A bot in two users' copies of a meeting, and a webhook of another that is not applied."""
    add_bot(engine, BOT)
    add_delivery(engine, BOT, "joining_call", id="msg_1")
    add_delivery(engine, NEW_BOT, "joining_call")
    add_delivery(engine, None, None, id="msg_2")
    times = {"start_time": db_now(), "end_time": db_now()}
    seen = {name: db_now() for name in ("seen_start", "seen_end", "linked_at", "last_seen_at")}
    with engine.begin() as connection:
        for meeting_id, user in zip(MEETINGS[:2], ("ines", "talks"), strict=True):
            row = {"id": meeting_id, "state": "found", "title": "Talks", "ical_uid": f"{user}@cal"}
            connection.execute(insert(CalendarMeeting).values(**row, **times))
            person = {"meeting_id": meeting_id, "email": "ann@example.org"}
            connection.execute(insert(MeetingPerson).values(**person))
            link = {"bot_id": BOT, "meeting_id": meeting_id, "external_id": user}
            connection.execute(insert(Link).values(**link, **seen))
        connection.execute(insert(CalendarUser).values(id="u", external_id="ines"))
        refused = {"reason": "stale_timestamp", "headers": {}, "message_id": "msg_3"}
        connection.execute(insert(Rejection).values(received_at=db_now(), **refused))
        connection.execute(update(Delivery).values(copies=1))
    return engine


def test_one_hit_is_opened(linked: Engine, reader: FlaskClient) -> None:
    """Whatever it is found by."""
    for text, address in (
        (BOT, f"/console/bots/{BOT}"),
        (f" {BOT[:8].upper()} ", f"/console/bots/{BOT}"),
        (NEW_BOT, f"/console/bots/{NEW_BOT}"),
        ("msg_1", f"/console/bots/{BOT}"),
        ("msg_2", "/console/deliveries?message_id=msg_2"),
        ("msg_3", "/console/rejections?message_id=msg_3"),
        (MEETINGS[0], f"/console/bots/{BOT}"),
        ("ines@cal", f"/console/bots/{BOT}"),
        ("ines", "/console/calendar/user?external_id=ines"),
        ("TALKS", "/console/links?title=TALKS"),
    ):
        answer = reader.get("/console/search", query_string={"q": text})
        assert (answer.status_code, answer.location) == (303, address), text


def test_kinds_of_hits_are_listed(linked: Engine, reader: FlaskClient) -> None:
    """Each with its count and its address; of an address everything stored as well."""
    page = reader.get("/console/search?q=talks").text
    assert f'<a href="{TALKS}">' in page
    assert '<a href="/console/links?external_id=talks">' in page
    assert '<td data-label="How many">2</td>' in page
    page = reader.get("/console/search?q=Ann@example.org").text
    assert '<a href="/console/links?email=Ann%40example.org">' in page
    assert '<a href="/console/people?email=Ann%40example.org">' in page


@pytest.mark.parametrize(
    "text", ["<b>x</b>", "\0", "x" * 5000, "%' OR 1=1 --", "' & | !", "\u202e", "((", "aaaaaaaa"]
)
def test_hostile_text_finds_nothing(linked: Engine, reader: FlaskClient, text: str) -> None:
    """It is no markup and no operator; the page says what can be searched for."""
    answer = reader.get("/console/search", query_string={"q": text})
    assert answer.status_code == 404
    assert "Nothing matches" in answer.text
    assert "<b>" not in answer.text


def test_without_a_text_the_page_says_what_to_type(reader: FlaskClient) -> None:
    """A search for nothing is no error."""
    assert reader.get("/console/search?q=%20").status_code == 200
