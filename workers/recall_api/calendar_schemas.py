"""Calendar users and lists of meetings as typed values."""

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
        """Whether any of their calendars is connected."""
        return any(connection.connected for connection in self.connections)

    def connected_to(self, platform: str) -> CalendarConnection | None:
        """Return the connection of a platform if it is connected."""
        # Recall always lists both platforms, in either order.
        found = (c for c in self.connections if c.platform == platform and c.connected)
        return next(found, None)


@dataclass(frozen=True, slots=True)
class ListedMeeting:
    """One meeting of a user's list, and the bot that records it."""

    id: str
    bot_id: str | None
    body: MeetingBody


def read_user(body: Body, endpoint: Endpoint) -> CalendarUser:
    """Read a user's body; RecallError if it has no id."""
    user_id = plain_uuid(body.get("id"))
    if user_id is None:
        raise unreadable(endpoint, "not a calendar user")
    external_id = body.get("external_id")
    return CalendarUser(
        id=user_id,
        # Exactly as Recall spells it: a token for an altered id would create another user.
        external_id=external_id if isinstance(external_id, str) else None,
        connections=tuple(_connections(body, endpoint)),
        preferences=parsing.json_object(body.get("preferences")),
    )


def read_users(items: Iterable[Body]) -> tuple[CalendarUser, ...]:
    """Read a list of users; other items are left out."""
    return tuple(read_user(item, Endpoint.USERS) for item in items if plain_uuid(item.get("id")))


def read_meetings(items: Iterable[Body]) -> tuple[ListedMeeting, ...]:
    """Read a list of meetings; items without a usable id are left out."""
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
