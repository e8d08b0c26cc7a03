"""The key of a meeting: one for all of its copies, another for every other meeting."""

import importlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.meeting_key import meeting_key

START = datetime(2026, 11, 20, 10, tzinfo=UTC)
ZOOM = {"zoom_invite": {"meeting_id": "98765432101"}}
migration = importlib.import_module("migrations.versions.0015_fill_recorded")


@given(
    uid=st.text(min_size=1, max_size=600),
    start=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7))])),
)
def test_it_is_the_key_that_the_migration_made(uid: str, start: datetime) -> None:
    """Else copies of before an upgrade would stand apart from those of after it."""
    try:
        made = migration.key_of(uid, start)
    except OverflowError:
        return
    assert meeting_key(uid, start) == made
    assert len(made) == 32


def test_copies_in_other_zones_and_rooms_are_one_meeting() -> None:
    """With a UID nothing but the moment counts: a user may see no invite."""
    there = START.astimezone(timezone(timedelta(hours=9)))
    assert meeting_key("uid", START, ZOOM) == meeting_key("uid", there)


def test_a_moved_occurrence_of_a_series_is_another_meeting() -> None:
    """All occurrences have the same UID, and often the same room."""
    later = START + timedelta(days=7)
    assert meeting_key("uid", START) != meeting_key("uid", later)
    assert meeting_key(None, START, ZOOM) != meeting_key(None, later, ZOOM)


@pytest.mark.parametrize(
    "invite",
    [
        ZOOM,
        {"meet_invite": {"meeting_id": "abc-defg-hij"}},
        {"teams_invite": {"thread_id": "19:meeting_x@thread.v2", "tenant_id": None}},
        {"webex_invite": {"meeting_subdomain": "lab", "meeting_mtid": "m1", "meeting_path": None}},
        {"webex_invite": {"meeting_subdomain": "lab", "meeting_path": "meet/ada"}},
        {"webex_invite": {"meeting_subdomain": "lab", "meeting_personal_room_id": "ada"}},
        {"goto_meeting_invite": {"meeting_id": "123456789"}},
    ],
)
@pytest.mark.parametrize("uid", [None, ""])
def test_without_a_uid_the_room_tells(invite: dict[str, Any], uid: str | None) -> None:
    """Each platform's own id of it; other invites of the body are null."""
    nulls = dict.fromkeys(("zoom_invite", "meet_invite", "teams_invite", "webex_invite"))
    key = meeting_key(uid, START, nulls | invite | {"platform_id": "of one copy alone"})
    assert key == meeting_key(uid, START, invite)
    other = {name: dict.fromkeys(room, "other") for name, room in invite.items()}
    assert key not in (None, meeting_key(uid, START, other), meeting_key("uid", START, invite))


@pytest.mark.parametrize(
    "details",
    [
        None,
        {},
        {"zoom_invite": None},
        {"zoom_invite": {"meeting_id": None}},
        {"zoom_invite": {"meeting_id": " "}},
        {"zoom_invite": {"meeting_id": 98765432101}},
        {"zoom_invite": "98765432101"},
        {"teams_invite": {"thread_id": None, "organizer_id": "o", "tenant_id": "t"}},
        {"webex_invite": {"meeting_subdomain": "lab"}},
        {"clamped": {"start_time": "x"}, "platform": "zoom"},
    ],
)
def test_what_names_no_room_has_no_key(details: dict[str, Any] | None) -> None:
    """Meetings that nothing tells apart stay apart, and are not guessed to be one."""
    assert meeting_key(None, START, details) is None


def test_the_same_number_at_two_platforms_is_two_rooms() -> None:
    """A Zoom id and a GoTo id may be the same digits."""
    other = {"goto_meeting_invite": ZOOM["zoom_invite"]}
    assert meeting_key(None, START, ZOOM) != meeting_key(None, START, other)
