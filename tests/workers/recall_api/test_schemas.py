"""Recall's answers: documented ones are read whole, strange ones are survived."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.queries.filters import LinkFilter
from models.tables.base import longest
from models.tables.calendar import CalendarMeeting, MeetingPerson
from models.tables.link import Link
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.schemas import (
    EXTERNAL_ID_LIMIT,
    BotBody,
    MeetingBody,
    is_usable_external_id,
    read_bot,
    read_meeting,
    read_object,
    read_token,
)

BOT = "7d1d3c7e-0f5b-4d7a-9b55-5a3d6a3a1c01"
MEETING = "b9b2f5a0-63a1-4f53-9d7e-0b9f1d7f4a02"
USER = "3f6cf1a2-12ce-4a43-8df5-0a42c5a0ef03"


def bot_body(**fields: Any) -> dict[str, Any]:
    """A bot that one calendar user's meeting is linked to."""
    meeting = {
        "id": MEETING,
        "start_time": "2026-11-20T10:00:00Z",
        "end_time": "2026-11-20T10:30:00Z",
        "calendar_user": {"id": USER, "external_id": "crew-17"},
    }
    given = {
        "id": BOT,
        "meeting_url": {"platform": "zoom", "meeting_id": "5551", "meeting_password": "pw9"},
        "bot_name": "Scribe",
        "status_changes": [],
        "recordings": [],
        "calendar_meetings": [meeting],
        "metadata": {"team": "north"},
    }
    return given | fields


def meeting_body(**fields: Any) -> dict[str, Any]:
    """A meeting with two attendees and the organiser among them."""
    given = {
        "id": MEETING,
        "override_should_record": None,
        "title": "Weekly sync",
        "will_record": True,
        "will_record_reason": "record_external",
        "start_time": "2026-11-20T10:05:00Z",
        "end_time": "2026-11-20T10:35:00Z",
        "platform": "google_calendar",
        "meeting_platform": "zoom",
        "calendar_platform": "google",
        "zoom_invite": {"meeting_id": "5551", "meeting_password": "pw9"},
        "teams_invite": None,
        "bot_id": BOT,
        "is_external": True,
        "is_hosted_by_me": False,
        "is_recurring": True,
        "organizer_email": "Mara@Example.com",
        "attendee_emails": ["mara@example.com", "tom@example.org"],
        "attendees": [
            {"name": None, "email": "mara@example.com", "is_organizer": True, "status": "accepted"},
            {
                "name": "Tom",
                "email": "Tom@Example.org",
                "is_organizer": False,
                "status": "declined",
            },
        ],
        "ical_uid": "uid-1@example.com",
        "visibility": None,
    }
    return given | fields


def test_a_documented_bot_is_read_whole() -> None:
    """Its meetings, its place and its name; a meeting's password is left out."""
    found = read_bot(bot_body(), BOT)
    (ref,) = found.meetings
    assert (ref.meeting_id, ref.calendar_user_id, ref.external_id) == (MEETING, USER, "crew-17")
    assert ref.start_time == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert found.meeting_platform == "zoom"
    assert found.meeting_url == {"platform": "zoom", "meeting_id": "5551"}
    assert (found.bot_name, found.metadata, found.unusable) == ("Scribe", {"team": "north"}, 0)


@pytest.mark.parametrize("value", [None, []])
def test_no_calendar_meetings_is_a_bot_without_meetings(value: object) -> None:
    """Missing, null and empty are one."""
    assert read_bot(bot_body(calendar_meetings=value), BOT).meetings == ()
    body = bot_body()
    del body["calendar_meetings"]
    assert read_bot(body, BOT).meetings == ()


def test_what_is_cleared_after_days_may_be_missing() -> None:
    """meeting_url is cleared some days after the bot has joined."""
    found = read_bot({"id": BOT, "meeting_url": "https://example.com"}, BOT)
    assert (found.meeting_url, found.meeting_platform, found.bot_name) == (None, None, None)


def test_another_bots_body_is_refused() -> None:
    """An answer for another id must not be stored under ours."""
    for strange in (MEETING, None, 7, BOT + "\n"):
        with pytest.raises(RecallError) as caught:
            read_bot(bot_body(id=strange), BOT)
        assert caught.value.fault is Fault.WRONG_BODY


def test_meetings_of_another_shape_are_unreadable() -> None:
    """An object where the list should be is a fault of the moment, tried again."""
    with pytest.raises(RecallError) as caught:
        read_bot(bot_body(calendar_meetings={"id": MEETING}), BOT)
    assert caught.value.fault is Fault.UNREADABLE


@pytest.mark.parametrize(
    "item",
    [
        None,
        "x",
        {},
        {"id": 7},
        {"id": "../../x", "start_time": "2026-11-20T10:00:00Z", "end_time": "2026-11-20T10:30:00Z"},
        {"id": MEETING, "start_time": "soon", "end_time": "2026-11-20T10:30:00Z"},
    ],
)
def test_an_item_that_cannot_be_read_is_counted_and_the_rest_is_kept(item: object) -> None:
    """One bad item takes no good one with it, and is not passed over in silence."""
    items = [item, *bot_body()["calendar_meetings"]]
    found = read_bot(bot_body(calendar_meetings=items), BOT)
    assert (len(found.meetings), found.unusable) == (1, 1)


def test_equal_meeting_ids_are_one_and_the_last_stands() -> None:
    """A doubled item makes no second link."""
    (item,) = bot_body()["calendar_meetings"]
    later = item | {"end_time": "2026-11-20T11:00:00Z"}
    (ref,) = read_bot(bot_body(calendar_meetings=[item, later]), BOT).meetings
    assert ref.end_time == datetime(2026, 11, 20, 11, tzinfo=UTC)


@pytest.mark.parametrize("user", [None, {}, {"id": USER, "external_id": None}, "x"])
def test_a_meeting_without_an_external_id_is_kept(user: object) -> None:
    """It is linked without a name to ask a token for."""
    (item,) = bot_body()["calendar_meetings"]
    (ref,) = read_bot(bot_body(calendar_meetings=[item | {"calendar_user": user}]), BOT).meetings
    assert ref.external_id is None


def test_a_number_is_not_coerced_into_an_external_id() -> None:
    """A token asked for "7" would create a second user beside 7."""
    (item,) = bot_body()["calendar_meetings"]
    user = {"id": USER, "external_id": 7}
    (ref,) = read_bot(bot_body(calendar_meetings=[item | {"calendar_user": user}]), BOT).meetings
    assert ref.external_id is None


@pytest.mark.parametrize("external_id", ["", " ", "a\x00b", "\ud800", "x" * 256])
def test_an_id_we_would_have_to_alter_is_not_usable(external_id: str) -> None:
    """Asking a token for an altered id creates another user."""
    assert not is_usable_external_id(external_id)
    assert is_usable_external_id("user 17+é@example.com")


def test_what_is_cut_is_cut_where_its_column_ends_and_can_be_asked_for() -> None:
    """Whoever stores and whoever asks read the longest at the column: none is longer alone."""
    names = ("title", "ical_uid", "meeting_platform", "organizer_email")
    kept = read_meeting(meeting_body(**dict.fromkeys(names, "x" * 5000)), MEETING)
    asked = {"title": kept.title, "ical_uid": kept.ical_uid, "platform": kept.meeting_platform}
    asked |= {"email": kept.organizer_email, "external_id": "x" * EXTERNAL_ID_LIMIT}
    columns = (CalendarMeeting.title, CalendarMeeting.ical_uid, CalendarMeeting.meeting_platform)
    lengths = [longest(one) for one in (*columns, MeetingPerson.email, Link.external_id)]
    assert [len(value or "") for value in asked.values()] == lengths
    LinkFilter.model_validate(asked)
    for name, value in asked.items():
        with pytest.raises(ValidationError):
            LinkFilter.model_validate({name: f"{value}x"})


def test_a_documented_meeting_is_read_whole() -> None:
    """With who can be looked up by it; invites stay in details, without their passwords."""
    found = read_meeting(meeting_body(), MEETING)
    assert (found.title, found.ical_uid) == ("Weekly sync", "uid-1@example.com")
    assert found.organizer_email == "mara@example.com"
    assert found.people == {"mara@example.com", "tom@example.org"}
    assert found.details["zoom_invite"] == {"meeting_id": "5551"}
    assert [a["status"] for a in found.attendees] == ["accepted", "declined"]
    assert (found.is_external, found.is_hosted_by_me, found.is_recurring) == (True, False, True)


def test_a_meeting_of_nulls_is_read() -> None:
    """Nearly everything may be null in truth, whatever the schema says."""
    body = dict.fromkeys(meeting_body(), None) | {"id": MEETING}
    found = read_meeting(body, MEETING)
    assert (found.title, found.start_time, found.people) == (None, None, frozenset())


def test_another_meetings_body_is_refused() -> None:
    """As with a bot."""
    with pytest.raises(RecallError) as caught:
        read_meeting(meeting_body(id=BOT), MEETING)
    assert caught.value.fault is Fault.WRONG_BODY


@pytest.mark.parametrize("token", [None, "", 7, "a b", "a\r\nb", "tök", "\x7f", "x" * 4097])
def test_a_token_that_cannot_be_a_header_is_refused(token: object) -> None:
    """Httpx would send an empty one, and break on the others."""
    with pytest.raises(RecallError) as caught:
        read_token({"token": token})
    assert caught.value.fault is Fault.UNREADABLE


def test_a_token_is_read_as_it_is() -> None:
    """Opaque: nothing is looked for in it."""
    assert read_token({"token": "eyJ.x-_~!"}) == "eyJ.x-_~!"


@pytest.mark.parametrize(
    "raw",
    [b"", b"<html>", b"[]", b"null", b'{"a": NaN}', b"[" * 200_000, b'"caf\xe9"', b'{"a":1}x'],
)
def test_what_is_no_json_object_is_unreadable(raw: bytes) -> None:
    """Each of them is tried again later."""
    with pytest.raises(RecallError) as caught:
        read_object(raw, Endpoint.BOT)
    assert caught.value.fault is Fault.UNREADABLE


def test_what_neither_database_stores_is_replaced() -> None:
    """NUL, surrogates, infinities, and nesting without end."""
    deep: Any = "bottom"
    for _ in range(400):
        deep = {"x": deep}
    odd = {"a\x00": "b\ud800", "big": 1e999, "deep": deep, "list": [1, 2.5, None, "z\x00"]}
    found = read_bot(bot_body(metadata=odd), BOT).metadata
    assert found is not None
    assert found["a\ufffd"] == "b\ufffd"
    assert found["big"] is None
    assert found["list"] == [1, 2.5, None, "z\ufffd"]
    json.dumps(found, allow_nan=False).encode()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=15,
)


@given(fields=st.dictionaries(st.sampled_from(sorted(bot_body())), values))
def test_a_mutated_bot_is_read_or_refused(fields: dict[str, Any]) -> None:
    """Any field, any value: a body, or a RecallError, and what is kept can be stored."""
    try:
        found = read_bot(bot_body(**fields), BOT)
    except RecallError:
        return
    assert isinstance(found, BotBody)
    json.dumps([found.metadata, found.meeting_url], allow_nan=False)


@given(fields=st.dictionaries(st.sampled_from(sorted(meeting_body())), values))
def test_a_mutated_meeting_is_read_or_refused(fields: dict[str, Any]) -> None:
    """As with a bot."""
    try:
        found = read_meeting(meeting_body(**fields), MEETING)
    except RecallError:
        return
    assert isinstance(found, MeetingBody)
    json.dumps([found.details, found.attendees], allow_nan=False)
