"""One meeting, many copies: a key that every user's copy of a meeting has in common."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# What tells a room from every other, by the invite that names it
# (https://docs.recall.ai/reference/calendar_meetings_retrieve): the first set that is there whole.
_ROOMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "zoom_invite": (("meeting_id",),),
    "meet_invite": (("meeting_id",),),
    "teams_invite": (("thread_id",),),
    "webex_invite": (
        ("meeting_subdomain", "meeting_mtid"),
        ("meeting_subdomain", "meeting_path"),
        ("meeting_subdomain", "meeting_personal_room_id"),
    ),
    "goto_meeting_invite": (("meeting_id",),),
}


def meeting_key(
    ical_uid: str | None, start: datetime, details: Mapping[str, Any] | None = None
) -> str | None:
    """Return the key of a meeting, from its iCal UID or else its room; None where it has neither.

    The start is part of it: every occurrence of a series has the series' UID, and often its room.
    """
    if ical_uid:
        return _digest("ical", ical_uid, start)
    room = _room(details or {})
    return _digest("room", room, start) if room else None


def _room(details: Mapping[str, Any]) -> str | None:
    for name, ways in _ROOMS.items():
        invite = details.get(name)
        if not isinstance(invite, Mapping):
            continue
        for fields in ways:
            parts = [invite.get(field) for field in fields]
            # A null names nothing: by it meetings of different rooms would be one.
            named = [part for part in parts if isinstance(part, str) and part.strip()]
            if len(named) == len(fields):
                return "\n".join((name, *named))
    return None


def _digest(kind: str, name: str, start: datetime) -> str:
    # As migration 0015 makes it. A hash, because an index takes 2,704 bytes and a UID may be long.
    words = f"{kind}\n{name}\n{start.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:32]
