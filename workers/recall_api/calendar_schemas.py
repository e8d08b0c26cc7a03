"""Calendar users and meeting lists as Recall answers them, read into values."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from models.core.sanitize import plain_uuid
from workers.recall_api import parsing
from workers.recall_api.errors import Endpoint
from workers.recall_api.schemas import Body, MeetingBody, listed, read_meeting, unreadable


@dataclass(frozen=True, slots=True)
class CalendarConnection:
    """One platform of a user: `google` or `microsoft`, connected or not."""

    platform: str
    connected: bool
    email: str | None
    id: str | None


@dataclass(frozen=True, slots=True)
class CalendarUser:
    """A calendar user (https://docs.recall.ai/reference/calendar_user_retrieve)."""

    id: str
    external_id: str | None
    connections: tuple[CalendarConnection, ...]
    preferences: dict[str, Any] | None

    @property
    def is_connected(self) -> bool:
        """Whether any calendar of theirs is."""
        return any(connection.connected for connection in self.connections)

    def connected_to(self, platform: str) -> CalendarConnection | None:
        """Return the platform's connection if it stands."""
        # Both platforms are always listed, in either order: the first one proves nothing.
        found = (c for c in self.connections if c.platform == platform and c.connected)
        return next(found, None)


@dataclass(frozen=True, slots=True)
class ListedMeeting:
    """One meeting of a user's list, and the bot that is or was to record it."""

    id: str
    bot_id: str | None
    body: MeetingBody


def read_user(body: Body, endpoint: Endpoint) -> CalendarUser:
    """Read a user's body; RecallError when it names no user."""
    user_id = plain_uuid(body.get("id"))
    if user_id is None:
        raise unreadable(endpoint, "not a calendar user")
    external_id = body.get("external_id")
    return CalendarUser(
        id=user_id,
        # As Recall spells it: a token must never be asked for an altered one.
        external_id=external_id if isinstance(external_id, str) else None,
        connections=tuple(_connections(body, endpoint)),
        preferences=parsing.json_object(body.get("preferences")),
    )


def read_users(items: Iterable[Body]) -> tuple[CalendarUser, ...]:
    """Read a list of users; what is no user is left out."""
    return tuple(read_user(item, Endpoint.USERS) for item in items if plain_uuid(item.get("id")))


def read_meetings(items: Iterable[Body]) -> tuple[ListedMeeting, ...]:
    """Read a list of meetings; what has no id of ours to look up by is left out."""
    found = ((plain_uuid(item.get("id")), item) for item in items)
    return tuple(
        ListedMeeting(meeting_id, plain_uuid(item.get("bot_id")), read_meeting(item, meeting_id))
        for meeting_id, item in found
        if meeting_id
    )


def _connections(body: Body, endpoint: Endpoint) -> Iterator[CalendarConnection]:
    for item in parsing.objects(listed(body, "connections", endpoint)):
        yield CalendarConnection(
            platform=parsing.text(item.get("platform")) or "",
            connected=item.get("connected") is True,
            email=parsing.email(item.get("email")),
            id=parsing.text(item.get("id")),
        )
