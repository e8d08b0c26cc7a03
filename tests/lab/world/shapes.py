"""What the fake workspace consists of, as plain dataclasses in Recall's field names."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

PLATFORMS = ("google", "microsoft")

# Codes a bot can have before it has tried to join; everything later means it was dispatched.
UNJOINED = frozenset({"ready"})


@dataclass(slots=True)
class Connection:
    """One calendar platform of a calendar user; unconnected ones are listed too, with nulls."""

    platform: str
    connected: bool = False
    email: str | None = None
    id: str | None = None


@dataclass(slots=True)
class Preferences:
    """What a calendar user wants recorded (/docs/calendar-v1-recording-preferences)."""

    id: str
    record_non_host: bool = False
    record_recurring: bool = False
    record_external: bool = False
    record_internal: bool = False
    record_confirmed: bool = False
    record_only_host: bool = False
    bot_name: str = "Lab Scribe"


@dataclass(slots=True)
class CalendarUser:
    """A calendar user (https://docs.recall.ai/reference/calendar_user_retrieve)."""

    id: str
    external_id: str | None
    connections: list[Connection] = field(
        default_factory=lambda: [Connection(platform) for platform in PLATFORMS]
    )
    preferences: Preferences | None = None

    def connection(self, platform: str) -> Connection:
        """Return the connection of that platform; LookupError for an unknown platform."""
        for connection in self.connections:
            if connection.platform == platform:
                return connection
        raise LookupError(f"no such calendar platform: {platform!r}")

    @property
    def is_connected(self) -> bool:
        """Whether any calendar of this user is connected."""
        return any(connection.connected for connection in self.connections)


@dataclass(slots=True)
class Attendee:
    """One attendee of a calendar meeting; `name` is null in real bodies."""

    email: str
    name: str | None = None
    is_organizer: bool = False
    status: str = "accepted"


@dataclass(slots=True)
class CalendarMeeting:
    """One user's copy of a meeting (https://docs.recall.ai/reference/calendar_meetings_retrieve)."""

    id: str
    user_id: str
    start_time: datetime
    end_time: datetime
    title: str | None = ""
    description: str | None = ""
    calendar_platform: str = "google"
    meeting_platform: str | None = None
    invite: dict[str, Any] | None = None
    platform_id: str | None = None
    ical_uid: str | None = None
    organizer_email: str | None = None
    attendees: list[Attendee] = field(default_factory=list)
    bot_id: str | None = None
    override_should_record: bool | None = None
    will_record: bool = False
    will_record_reason: str | None = None
    is_external: bool = False
    is_hosted_by_me: bool = False
    is_recurring: bool = False
    visibility: str | None = None


@dataclass(slots=True)
class StatusChange:
    """One entry of a bot's `status_changes`; message and sub_code are null more often than not."""

    code: str
    created_at: datetime
    sub_code: str | None = None
    message: str | None = None


@dataclass(slots=True)
class MeetingReference:
    """A bot's pointer to a calendar meeting, with the times it was dispatched for."""

    id: str
    start_time: datetime
    end_time: datetime
    user_id: str
    external_id: str | None


@dataclass(slots=True)
class Recording:
    """One recording of a bot; `completed_at` is null while it runs.

    `media` are the states of what was made of it, by kind; `expires_at` is a week after its end
    unless it is given.
    """

    id: str
    started_at: datetime
    completed_at: datetime | None = None
    title: str | None = None
    code: str = "done"
    media: dict[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None


@dataclass(slots=True)
class Bot:
    """A bot (https://docs.recall.ai/reference/bot_retrieve); `meeting_link`: the URL asked for."""

    id: str
    meeting_url: dict[str, Any] | None = None
    meeting_link: str | None = None
    bot_name: str = "Lab Scribe"
    join_at: datetime | None = None
    status_changes: list[StatusChange] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)
    calendar_meetings: list[MeetingReference] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str | None:
        """The code of the last status change, None for a bot without any."""
        return self.status_changes[-1].code if self.status_changes else None

    @property
    def is_scheduled(self) -> bool:
        """Whether the bot has not tried to join yet."""
        return self.status is None or self.status in UNJOINED


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person allowed on the consent page; the code that stands for it works once."""

    platform: str
    redirect_uri: str
    email: str
    scopes: tuple[str, ...]
    has_refresh_token: bool
