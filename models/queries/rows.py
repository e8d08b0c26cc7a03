"""Typed rows of the queries, shared by JSON, CSV, tables and pages."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One row of the view bot_links."""

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
    """One bot with its status and link state."""

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
    owed_since: datetime | None
    lease_until: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One row of the view delivery_log."""

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
    applied_at: datetime | None


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """One row of the view recording_log."""

    recording_id: str
    bot_id: str
    recording_status: str
    started_at: datetime | None
    completed_at: datetime | None
    expires_at: datetime | None
    transcript_id: str | None
    transcript_status: str | None
    video_id: str | None
    audio_id: str | None
    participant_events_id: str | None
    source: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class RejectionRow:
    """One refused request, without its headers and body."""

    id: int
    received_at: datetime
    reason: str
    remote_addr: str | None
    message_id: str | None
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One entry of a bot's status history."""

    code: str
    sub_code: str | None
    message: str | None
    occurred_at: datetime
    delivery_id: str | None


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call to Recall during an attempt."""

    method: str
    path: str
    about: str | None
    status: int | None
    ms: int
    error: str | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt to link a bot, with its calls."""

    id: int
    started_at: datetime
    finished_at: datetime
    outcome: str
    error: str | None
    calls: list[CallRow]


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event that a bot caused, without its data."""

    event_id: str
    type: str
    created_at: datetime
    state: str
    attempts: int
    changed: list[str]


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything known about one bot, and a sentence that explains its link state."""

    bot: BotRow
    why: str
    statuses: list[StatusRow]
    deliveries: list[DeliveryRow]
    attempts: list[AttemptRow]
    links: list[LinkRow]
    # Links of other bots to the same meetings.
    same_meeting: list[LinkRow]
    events: list[EventLine]
    recordings: list[RecordingRow]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One entry of the audit log."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str | None
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event; `position` is its place in the feed."""

    event_id: str
    position: int
    type: str
    bot_id: str | None
    meeting_id: str | None
    external_id: str | None
    created_at: datetime
    state: str
    attempts: int
    next_try_at: datetime | None
    data: dict[str, Any]
    endpoints: str | None
