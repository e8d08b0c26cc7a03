"""Other people's copies of a meeting, which list an erased person by their addresses."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select, update

from models.tables.calendar import CalendarMeeting, MeetingPerson
from workers.outbox.links import watch_links


def drop_from_copies(
    connection: Connection, part: Sequence[str], addresses: Sequence[str]
) -> dict[str, int]:
    """Take them out of these meetings; returns how many there are."""
    with watch_links(connection, meeting_ids=part):
        _take_out_of_meetings(connection, part, addresses)
    return {"copies": len(part)}


def _take_out_of_meetings(
    connection: Connection, part: Sequence[str], addresses: Sequence[str]
) -> None:
    people = MeetingPerson.meeting_id.in_(part) & MeetingPerson.email.in_(addresses)
    connection.execute(delete(MeetingPerson).where(people))
    hosted = CalendarMeeting.id.in_(part) & CalendarMeeting.organizer_email.in_(addresses)
    connection.execute(update(CalendarMeeting).where(hosted).values(organizer_email=None))
    kept = select(CalendarMeeting.id, CalendarMeeting.attendees)
    for row in connection.execute(kept.where(CalendarMeeting.id.in_(part))).all():
        others = [one for one in row.attendees or [] if not _is_of(one, addresses)]
        if others != (row.attendees or []):
            one = update(CalendarMeeting).where(CalendarMeeting.id == row.id)
            connection.execute(one.values(attendees=others))


def _is_of(attendee: dict[str, Any], addresses: Sequence[str]) -> bool:
    return str(attendee.get("email") or "").strip().lower() in addresses
