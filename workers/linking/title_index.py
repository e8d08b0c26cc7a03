"""Indexes titles that a release from before migration 0011 wrote without their words."""

from typing import cast

from sqlalchemy import Connection, Table, bindparam, select, update

from models.core.title_words import title_columns
from models.tables.calendar import CalendarMeeting

_MEETINGS = cast("Table", CalendarMeeting.__table__)


def index_titles(connection: Connection, limit: int) -> int:
    """Index a batch of titles; returns how many."""
    columns = _MEETINGS.c
    differs = columns.title.is_distinct_from(columns.indexed_title)
    stale = select(columns.id, columns.title).where(differs).order_by(columns.id).limit(limit)
    # Rows that are being written are left for the next minute.
    rows = connection.execute(stale.with_for_update(skip_locked=True)).all()
    if rows:
        filled = update(_MEETINGS).where(columns.id == bindparam("key"))
        connection.execute(filled, [{"key": row.id, **title_columns(row.title)} for row in rows])
    return len(rows)
