"""Keys of meetings that were written without: by a release before 0014, or when a meeting moved."""

from typing import cast

from sqlalchemy import Connection, Table, bindparam, select, text, update

from models.core.meeting_key import meeting_key
from models.tables.calendar import CalendarMeeting
from workers.outbox.links import watch_links

_MEETINGS = cast("Table", CalendarMeeting.__table__)


def fill_meeting_keys(connection: Connection, limit: int) -> int:
    """Make the keys of meetings that have a UID and no key; returns of how many."""
    columns = _MEETINGS.c
    lacking = select(columns.id, columns.ical_uid, columns.start_time)
    lacking = lacking.where(text(CalendarMeeting.IS_KEYLESS)).order_by(columns.id).limit(limit)
    # A row that somebody writes just now is looked at again a minute later.
    rows = connection.execute(lacking.with_for_update(skip_locked=True)).all()
    if rows:
        keys = [{"key": row.id, "made": meeting_key(row.ical_uid, row.start_time)} for row in rows]
        filled = update(_MEETINGS).where(columns.id == bindparam("key"))
        with watch_links(connection, meeting_ids=[row.id for row in rows]):
            connection.execute(filled.values(meeting_key=bindparam("made")), keys)
    return len(rows)
