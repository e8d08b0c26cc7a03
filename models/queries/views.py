"""The views that our code reads; their columns are a contract with users' scripts."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, MetaData, String, Table
from sqlalchemy.types import TypeEngine

from models.tables.base import Json, UtcDateTime

_TEXT, _TIME, _COUNT, _FLAG = String(), UtcDateTime(), BigInteger(), Boolean()
# Separate metadata, so that create_all and autogenerate do not treat views as tables.
_VIEWS = MetaData()


def _view(name: str, **columns: TypeEngine[Any]) -> Table:
    return Table(name, _VIEWS, *(Column(key, kind) for key, kind in columns.items()))


BOT_LINKS = _view(
    "bot_links",
    bot_id=_TEXT,
    bot_status=_TEXT,
    bot_sub_code=_TEXT,
    bot_status_at=_TIME,
    link_state=_TEXT,
    external_id=_TEXT,
    calendar_user_id=_TEXT,
    meeting_id=_TEXT,
    meeting_state=_TEXT,
    meeting_title=_TEXT,
    meeting_start=_TIME,
    meeting_end=_TIME,
    organizer_email=_TEXT,
    ical_uid=_TEXT,
    calendar_platform=_TEXT,
    meeting_platform=_TEXT,
    linked_at=_TIME,
    ended_at=_TIME,
    end_reason=_TEXT,
    recorded=_FLAG,
    recorded_from=_TIME,
    recorded_until=_TIME,
    ended_sub_code=_TEXT,
    recording_id=_TEXT,
    recording_expires_at=_TIME,
    transcript_id=_TEXT,
    bot_name=_TEXT,
    bot_metadata=Json,
    meeting_key=_TEXT,
    updated_at=_TIME,
)
UNLINKED_BOTS = _view(
    "unlinked_bots",
    bot_id=_TEXT,
    bot_status=_TEXT,
    bot_status_at=_TIME,
    link_state=_TEXT,
    due_at=_TIME,
    attempts=_COUNT,
    last_error=_TEXT,
    first_seen_at=_TIME,
    recorded=_FLAG,
    ended_sub_code=_TEXT,
    bot_name=_TEXT,
    bot_metadata=Json,
)
DELIVERY_LOG = _view(
    "delivery_log",
    delivery_id=_TEXT,
    event=_TEXT,
    outcome=_TEXT,
    reason=_TEXT,
    bot_id=_TEXT,
    code=_TEXT,
    sub_code=_TEXT,
    occurred_at=_TIME,
    received_at=_TIME,
    copies=_COUNT,
    applied_at=_TIME,
)
RECORDING_LOG = _view(
    "recording_log",
    recording_id=_TEXT,
    bot_id=_TEXT,
    recording_status=_TEXT,
    started_at=_TIME,
    completed_at=_TIME,
    expires_at=_TIME,
    transcript_id=_TEXT,
    transcript_status=_TEXT,
    video_id=_TEXT,
    audio_id=_TEXT,
    participant_events_id=_TEXT,
    source=_TEXT,
    seen_at=_TIME,
)
CALENDAR_USERS = _view(
    "calendar_user_list",
    calendar_user_id=_TEXT,
    external_id=_TEXT,
    email=_TEXT,
    google_connected=_FLAG,
    microsoft_connected=_FLAG,
    seen_at=_TIME,
    gone_at=_TIME,
)
MISSED = _view(
    "missed_recordings",
    meeting_id=_TEXT,
    calendar_user_id=_TEXT,
    external_id=_TEXT,
    meeting_title=_TEXT,
    meeting_start=_TIME,
    meeting_end=_TIME,
    reason=_TEXT,
    sub_code=_TEXT,
    bot_id=_TEXT,
    found_at=_TIME,
    resolved_at=_TIME,
)
RELINK_BATCH_LOG = _view(
    "relink_batch_log",
    batch_id=_COUNT,
    retried_at=_TIME,
    actor=_TEXT,
    bot_id=_TEXT,
    outcome=_TEXT,
    reason=_TEXT,
)
RECONCILE_LOG = _view(
    "reconcile_log",
    run_id=_COUNT,
    since=_TIME,
    started_at=_TIME,
    finished_at=_TIME,
    is_complete=_FLAG,
    error=_TEXT,
    pages=_COUNT,
    bots_seen=_COUNT,
    bots_missed=_COUNT,
    statuses_missed=_COUNT,
    bots_due=_COUNT,
    unusable=_COUNT,
    started_by=_TEXT,
    state=_TEXT,
)
EVENT_LOG = _view(
    "event_log",
    event_id=_TEXT,
    position=_COUNT,
    type=_TEXT,
    bot_id=_TEXT,
    meeting_id=_TEXT,
    external_id=_TEXT,
    created_at=_TIME,
    state=_TEXT,
    attempts=_COUNT,
    next_try_at=_TIME,
    data=Json,
    endpoints=_TEXT,
)
VIEWS = (
    BOT_LINKS,
    UNLINKED_BOTS,
    DELIVERY_LOG,
    RECORDING_LOG,
    CALENDAR_USERS,
    MISSED,
    RELINK_BATCH_LOG,
    RECONCILE_LOG,
    EVENT_LOG,
)
