"""What the reads return: typed rows, which every rendering (JSON, CSV, table, page) shares."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One line of the view bot_links."""

    bot_id: str
    bot_status: str
    bot_sub_code: str | None
    bot_status_at: datetime
    link_state: str
    external_id: str | None
    calendar_user_id: str | None
    meeting_id: str
    meeting_state: str
    meeting_title: str | None
    meeting_start: datetime
    meeting_end: datetime
    organizer_email: str | None
    ical_uid: str | None
    calendar_platform: str | None
    meeting_platform: str | None
    linked_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    recorded: bool | None
    recorded_from: datetime | None
    recorded_until: datetime | None
    ended_sub_code: str | None
    recording_id: str | None
    recording_expires_at: datetime | None
    transcript_id: str | None
    bot_name: str | None
    bot_metadata: dict[str, Any] | None
    meeting_key: str | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class BotRow:
    """One bot, its status, and how its link stands."""

    bot_id: str
    bot_status: str
    bot_sub_code: str | None
    bot_status_at: datetime
    link_state: str
    due_at: datetime | None
    attempts: int
    crashes: int
    last_error: str | None
    bot_name: str | None
    meeting_platform: str | None
    first_seen_at: datetime
    fetched_at: datetime | None
    settled_at: datetime | None
    recorded: bool | None
    recorded_from: datetime | None
    recorded_until: datetime | None
    ended_sub_code: str | None
    bot_metadata: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One line of the view delivery_log."""

    delivery_id: str
    event: str | None
    outcome: str
    reason: str | None
    bot_id: str | None
    code: str | None
    sub_code: str | None
    occurred_at: datetime | None
    received_at: datetime
    copies: int


@dataclass(frozen=True, slots=True)
class RejectionRow:
    """One refused request; its headers and body are shown to nobody."""

    id: int
    received_at: datetime
    reason: str
    remote_addr: str | None
    message_id: str | None
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One status that a bot was in."""

    code: str
    sub_code: str | None
    message: str | None
    occurred_at: datetime
    delivery_id: str | None


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call to Recall, within an attempt."""

    method: str
    path: str
    about: str | None
    status: int | None
    ms: int
    error: str | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try to link a bot, with each of its calls."""

    id: int
    started_at: datetime
    finished_at: datetime
    outcome: str
    error: str | None
    calls: list[CallRow]


@dataclass(frozen=True, slots=True)
class Explained:
    """All that is known of one bot, and one sentence of why it is or is not linked."""

    bot: BotRow
    why: str
    statuses: list[StatusRow]
    deliveries: list[DeliveryRow]
    attempts: list[AttemptRow]
    links: list[LinkRow]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One change that a person made."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str | None
    details: dict[str, Any]
