"""Words of titles that somebody wrote who does not know of them: a release before 0011."""

from typing import cast

from sqlalchemy import Connection, Table, bindparam, select, update

from models.core.title_words import title_columns
from models.tables.calendar import CalendarMeeting

_MEETINGS = cast("Table", CalendarMeeting.__table__)


def index_titles(connection: Connection, limit: int) -> int:
    """Make the words of rows that were written without; returns of how many."""
    columns = _MEETINGS.c
    differs = columns.title.is_distinct_from(columns.indexed_title)
    stale = select(columns.id, columns.title).where(differs).order_by(columns.id).limit(limit)
    # A row that somebody writes just now is looked at again a minute later.
    rows = connection.execute(stale.with_for_update(skip_locked=True)).all()
    if rows:
        filled = update(_MEETINGS).where(columns.id == bindparam("key"))
        connection.execute(filled, [{"key": row.id, **title_columns(row.title)} for row in rows])
    return len(rows)
