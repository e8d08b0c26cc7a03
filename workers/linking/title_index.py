"""Words of titles that somebody wrote who does not know of them: a release before 0011."""

import time
from collections.abc import Callable
from typing import cast

from sqlalchemy import Connection, Engine, Table, bindparam, select, update

from models.core.title_words import title_columns
from models.tables.calendar import CalendarMeeting

EVERY_SECONDS = 60.0
BATCH = 500
_MEETINGS = cast("Table", CalendarMeeting.__table__)


class TitleIndex:
    """Looks once a minute for titles without their words; the index of such rows is empty."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._next_at = clock()

    def fill_when_due(self) -> int:
        """Make the words that are missing, a batch at a time; returns of how many rows."""
        if self._clock() < self._next_at:
            return 0
        with self._engine.begin() as connection:
            filled = index_titles(connection, BATCH)
        # A full batch is not the last: the next sweep goes on.
        self._next_at = self._clock() + (0 if filled == BATCH else EVERY_SECONDS)
        return filled


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
