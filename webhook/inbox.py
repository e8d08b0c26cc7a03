"""Where deliveries are committed: one statement, one commit, within five seconds or not at all."""

import queue
import time
from collections.abc import Sequence

import psycopg
import structlog
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from models.database import make_engine
from models.settings import Settings
from webhook.insert import Lane, Outcome, Row, Stored
from webhook.waiter import current_waiter, hand_in
from webhook.watchdog import Watchdog

# The sender waits 15 s (https://docs.recall.ai/docs/bot-status-change-events); our word is 5.
STORE_SECONDS = 4.0
# From here on it was a time-out of some kind, not a refusal.
SLOW_SECONDS = 0.9
RETRY_AFTER_SECONDS = 5
BREAKER_SECONDS = 2.0
# An insert takes a fraction of a millisecond: a few connections serve many requests, and a
# 20-connection plan has room for two deploys side by side. SQLite has one writer anyway.
LANES = 4
# What one row may be the reason for: by itself, each of the others may well be stored.
_OF_ONE_ROW = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.LockNotAvailable,
    DataError,
    IntegrityError,
)

logger = structlog.stdlib.get_logger(__name__)


class DatabaseAwayError(Exception):
    """Nothing was stored; the sender is to come again after `retry_after` seconds."""

    retry_after = RETRY_AFTER_SECONDS


class Inbox:
    """Stores deliveries over a few autocommit connections that are kept ready."""

    def __init__(self, settings: Settings) -> None:
        lanes = 1 if settings.on_sqlite else LANES
        self._engine = make_engine(settings, "autocommit", pool_size=lanes)
        self._watchdog = Watchdog()
        # Last in, first out: the connection used last is the one most likely alive.
        self._free: queue.LifoQueue[Lane] = queue.LifoQueue()
        for _ in range(lanes):
            self._free.put(Lane(self._engine, self._watchdog))
        self._closed_until = 0.0

    def store(self, row: Row) -> Stored:
        """Commit one delivery, or count its copy; DatabaseAwayError within 5 s."""
        waiter = current_waiter()
        if waiter is not None:
            outcome: Outcome = hand_in(waiter, row)
        else:
            [outcome] = self.store_all([row], time.monotonic() + STORE_SECONDS)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def store_all(self, rows: Sequence[Row], until: float) -> list[Outcome]:
        """Commit deliveries together; each has an outcome of its own by the monotonic `until`."""
        try:
            lane = self._free.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return self._close_for_a_moment(_refuse(rows, "no connection was free"), until)
        try:
            # Asked here: it may have been closed while these waited for a lane.
            if not self._closed_until <= time.monotonic() < until:
                return [DatabaseAwayError() for _ in rows]
            return self._close_for_a_moment(self._store_each_once(lane, rows, until), until)
        finally:
            self._free.put(lane)

    def close(self) -> None:
        """Close the connections; only when nothing is being stored."""
        while not self._free.empty():
            self._free.get().close()
        self._watchdog.close()
        self._engine.dispose()

    def _store_each_once(self, lane: Lane, rows: Sequence[Row], until: float) -> list[Outcome]:
        # A statement cannot touch a row twice: a copy that came with its original goes after it.
        firsts = {row["id"]: place for place, row in reversed(list(enumerate(rows)))}
        places = sorted(firsts.values())
        found = dict(zip(places, self._store(lane, [rows[n] for n in places], until), strict=True))
        for place in sorted(set(range(len(rows))).difference(places)):
            [found[place]] = self._store(lane, [rows[place]], until)
        return [found[place] for place in range(len(rows))]

    def _store(self, lane: Lane, rows: Sequence[Row], until: float) -> list[Outcome]:
        if time.monotonic() >= until:
            return _refuse(rows, "no time was left")
        try:
            return list(lane.store(rows, until))
        except (SQLAlchemyError, psycopg.Error) as error:
            lane.close()
            if len(rows) > 1 and isinstance(error, _OF_ONE_ROW):
                return [one for row in rows for one in self._store(lane, [row], until)]
            return _refuse(rows, type(error).__name__)

    def _close_for_a_moment(self, outcomes: list[Outcome], until: float) -> list[Outcome]:
        """Where the database let all of them wait, nobody else is made to for a moment."""
        now = time.monotonic()
        is_slow = now - (until - STORE_SECONDS) >= SLOW_SECONDS
        if is_slow and not any(isinstance(one, Stored) for one in outcomes):
            self._closed_until = now + BREAKER_SECONDS
        return outcomes


def _refuse(rows: Sequence[Row], why: str) -> list[Outcome]:
    logger.warning("not stored", error=why, deliveries=len(rows))
    return [DatabaseAwayError() for _ in rows]
