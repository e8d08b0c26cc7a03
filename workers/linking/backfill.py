"""Columns that somebody left empty who does not know of them: a release that runs beside us."""

import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine

EVERY_SECONDS = 60.0
BATCH = 500

Fill = Callable[[Connection, int], int]


class Backfill:
    """Looks once a minute for rows that lack something; the index of such rows is empty."""

    def __init__(
        self, engine: Engine, fill: Fill, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._fill = fill
        self._clock = clock
        self._next_at = clock()

    def fill_when_due(self) -> int:
        """Fill in what is missing, a batch at a time; returns of how many rows."""
        if self._clock() < self._next_at:
            return 0
        with self._engine.begin() as connection:
            filled = self._fill(connection, BATCH)
        # A full batch is not the last: the next sweep goes on.
        self._next_at = self._clock() + (0 if filled == BATCH else EVERY_SECONDS)
        return filled
