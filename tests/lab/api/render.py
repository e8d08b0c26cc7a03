"""The bodies Recall answers with, built from the lab's dataclasses."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from tests.lab.world.invites import artifact_id
from tests.lab.world.shapes import (
    Attendee,
    Bot,
    CalendarMeeting,
    CalendarUser,
    MeetingReference,
    Recording,
    StatusChange,
)

INVITES = {
    "zoom_invite": ("zoom",),
    "teams_invite": ("microsoft_teams", "microsoft_teams_live"),
    "meet_invite": ("google_meet",),
    "webex_invite": ("webex",),
    "goto_meeting_invite": ("goto_meeting",),
}
CALENDARS = {"google": "google_calendar", "microsoft": "microsoft_outlook"}
MEDIA_LIVES = timedelta(days=7)
MEDIA = ("video_mixed", "transcript", "participant_events", "audio_mixed")


def stamp(at: datetime | None) -> str | None:
    """Return the ISO 8601 text Recall's REST bodies use (`…Z`), None for None."""
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def user_body(user: CalendarUser) -> dict[str, Any]:
    """Return the CalendarUser object (https://docs.recall.ai/reference/calendar_user_retrieve)."""
    return {
        "id": user.id,
        "external_id": user.external_id,
        "connections": [asdict(connection) for connection in user.connections],
        "preferences": None if user.preferences is None else asdict(user.preferences),
    }


def meeting_body(meeting: CalendarMeeting) -> dict[str, Any]:
    """Return the meeting object (https://docs.recall.ai/reference/calendar_meetings_retrieve)."""
    return {
        "id": meeting.id,
        "override_should_record": meeting.override_should_record,
        "title": meeting.title,
        "description": meeting.description,
        "will_record": meeting.will_record,
        "will_record_reason": meeting.will_record_reason,
        "start_time": stamp(meeting.start_time),
        "end_time": stamp(meeting.end_time),
        **_platforms(meeting),
        "bot_id": meeting.bot_id,
        "is_external": meeting.is_external,
        "is_hosted_by_me": meeting.is_hosted_by_me,
        "is_recurring": meeting.is_recurring,
        "organizer_email": meeting.organizer_email,
        "attendee_emails": [attendee.email for attendee in meeting.attendees],
        "attendees": [_attendee(attendee) for attendee in meeting.attendees],
        "ical_uid": meeting.ical_uid,
        "visibility": meeting.visibility,
    }


def bot_body(bot: Bot) -> dict[str, Any]:
    """Return the bot object (https://docs.recall.ai/reference/bot_retrieve)."""
    return {
        "id": bot.id,
        "meeting_url": bot.meeting_url,
        "bot_name": bot.bot_name,
        # Documented as readable only until the bot has joined.
        "join_at": stamp(bot.join_at) if bot.is_scheduled else None,
        "recording_config": {},
        "automatic_leave": {},
        "status_changes": [_status(change) for change in bot.status_changes],
        "recordings": [_recording(recording) for recording in bot.recordings],
        "calendar_meetings": [_reference(reference) for reference in bot.calendar_meetings],
        "slack_team": None,
        "metadata": bot.metadata,
    }


def _platforms(meeting: CalendarMeeting) -> dict[str, Any]:
    invites = {
        key: meeting.invite if meeting.meeting_platform in names else None
        for key, names in INVITES.items()
    }
    return {
        "platform": CALENDARS.get(meeting.calendar_platform),
        "platform_id": meeting.platform_id,
        "meeting_platform": meeting.meeting_platform,
        "calendar_platform": meeting.calendar_platform,
        **invites,
    }


def _attendee(attendee: Attendee) -> dict[str, Any]:
    return {
        "name": attendee.name,
        "email": attendee.email,
        "is_organizer": attendee.is_organizer,
        "status": attendee.status,
    }


def _status(change: StatusChange) -> dict[str, Any]:
    return {
        "code": change.code,
        "message": change.message,
        "created_at": stamp(change.created_at),
        "sub_code": change.sub_code,
    }


def _reference(reference: MeetingReference) -> dict[str, Any]:
    return {
        "id": reference.id,
        "start_time": stamp(reference.start_time),
        "end_time": stamp(reference.end_time),
        "calendar_user": {"id": reference.user_id, "external_id": reference.external_id},
    }


def _recording(recording: Recording) -> dict[str, Any]:
    ended = recording.completed_at
    expires = recording.expires_at or (None if ended is None else ended + MEDIA_LIVES)
    return {
        "id": recording.id,
        "created_at": stamp(recording.started_at),
        "started_at": stamp(recording.started_at),
        "completed_at": stamp(ended),
        "expires_at": stamp(expires),
        "status": _artifact_status(recording, recording.code),
        "media_shortcuts": {
            **{kind: _artifact(recording, kind) for kind in MEDIA},
            "meeting_metadata": {"data": {"title": recording.title, "zoom": None}},
        },
        "metadata": {},
    }


def _artifact(recording: Recording, kind: str) -> dict[str, Any] | None:
    if (code := recording.media.get(kind)) is None:
        return None
    # An address that opens the media for some hours: nobody should keep it.
    url = f"https://media.example/{recording.id}/{kind}?signature=lab"
    return {
        "id": artifact_id(recording.id, kind),
        "created_at": stamp(recording.started_at),
        "status": _artifact_status(recording, code),
        "metadata": {},
        "data": {"download_url": url if code == "done" else None},
    }


def _artifact_status(recording: Recording, code: str) -> dict[str, Any]:
    changed = recording.completed_at or recording.started_at
    return {"code": code, "sub_code": None, "updated_at": stamp(changed)}
