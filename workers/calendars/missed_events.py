"""Tells others of a meeting that was missed, in the transaction that stores it."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, select

from models.queries.views import MISSED
from models.tables.calendar import CalendarUser
from workers.outbox.write import NewEvent, Subject, write_events

Row = Mapping[str, Any]


@contextmanager
def watch_missed(
    connection: Connection, user_id: str, meeting_ids: Collection[str]
) -> Iterator[None]:
    """Write an event for each of these meetings that the block finds missed, once for its time."""
    # Two checks of one user would both find the same meeting.
    user = select(CalendarUser.id).where(CalendarUser.id == user_id)
    connection.execute(user.with_for_update()).all()
    before = _rows(connection, meeting_ids)
    yield
    events = [
        NewEvent("meeting.missed", _subject(row), {"missed": dict(row)})
        for key, row in _rows(connection, meeting_ids).items()
        if key not in before or before[key]["meeting_start"] != row["meeting_start"]
    ]
    write_events(connection, events)


def _rows(connection: Connection, meeting_ids: Collection[str]) -> dict[str, Row]:
    wanted = select(MISSED).where(MISSED.c.meeting_id.in_(meeting_ids))
    found: Any = connection.execute(wanted.order_by(MISSED.c.meeting_id)).mappings()
    return {row["meeting_id"]: row for row in found}


def _subject(row: Row) -> Subject:
    return Subject(row["bot_id"], row["meeting_id"], row["external_id"])
