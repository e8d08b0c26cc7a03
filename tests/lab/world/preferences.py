"""Which meetings a calendar user's preferences select (/docs/calendar-v1-recording-preferences)."""

from datetime import datetime

from tests.lab.world.shapes import CalendarMeeting, CalendarUser, Preferences

FIELDS = (
    "record_non_host",
    "record_recurring",
    "record_external",
    "record_internal",
    "record_confirmed",
    "record_only_host",
)


def reason_to_record(user: CalendarUser, meeting: CalendarMeeting, now: datetime) -> str | None:
    """Return why the meeting will be recorded, None when it will not.

    An override beats the preferences; no link or an end in the past beats the override.
    """
    if meeting.meeting_platform is None or meeting.end_time <= now:
        return None
    if meeting.override_should_record is not None:
        return "override_should_record" if meeting.override_should_record else None
    if user.preferences is None or not _passes(user.preferences, user, meeting):
        return None
    return _selected_by(user.preferences, meeting)


def _selected_by(wants: Preferences, meeting: CalendarMeeting) -> str | None:
    choices = {
        "record_external": wants.record_external and meeting.is_external,
        "record_internal": wants.record_internal and not meeting.is_external,
        "record_recurring": wants.record_recurring and meeting.is_recurring,
        "record_non_host": wants.record_non_host and not meeting.is_hosted_by_me,
    }
    return next((name for name, chosen in choices.items() if chosen), None)


def _passes(wants: Preferences, user: CalendarUser, meeting: CalendarMeeting) -> bool:
    if wants.record_only_host and not meeting.is_hosted_by_me:
        return False
    return not wants.record_confirmed or _accepted(user, meeting)


def _accepted(user: CalendarUser, meeting: CalendarMeeting) -> bool:
    mine = user.connection(meeting.calendar_platform).email
    statuses = [attendee.status for attendee in meeting.attendees if attendee.email == mine]
    return meeting.is_hosted_by_me or "accepted" in statuses
