"""Where deliveries are committed: one statement, one commit, within five seconds or not at all."""

import queue
import time
from collections.abc import Iterable, Sequence

import psycopg
import structlog

from models.core.database_errors import ErrorKind, classify, reason
from models.core.engine import make_engine
from models.core.logging import OncePerSecond
from models.settings.environment import Settings
from webhook.receiver.batch_wait import current_waiter, hand_in
from webhook.receiver.insert import Outcome, PooledConnection, Row, Stored
from webhook.receiver.socket_timeout import SocketTimeout
from webhook.receiver.write_check import LastWrite

# The sender waits 15 s (https://docs.recall.ai/docs/bot-status-change-events); our word is 5.
STORE_SECONDS = 4.0
# From here on it was a time-out of some kind, not a refusal.
SLOW_SECONDS = 0.9
RETRY_AFTER_SECONDS = 5
BREAKER_SECONDS = 2.0
# An insert takes a fraction of a millisecond: a few connections serve many requests, and a
# 20-connection plan has room for two deploys side by side. SQLite has one writer anyway.
LANES = 4

logger = structlog.stdlib.get_logger(__name__)
_once_per_second = OncePerSecond()


class NotStoredError(Exception):
    """Nothing was stored; the sender is to come again after `retry_after` seconds."""

    retry_after = RETRY_AFTER_SECONDS
    word = "not_stored"


class DatabaseAwayError(NotStoredError):
    """The database stored nothing, and would have stored nobody's."""

    word = "database_away"


class UnstorableError(NotStoredError):
    """This one can never be stored as it is; whatever else is may be."""


class LockedError(NotStoredError):
    """Another transaction holds this one's row, from an earlier copy of it."""

    word = "locked"


class Inbox:
    """Stores deliveries over a few autocommit connections that are kept ready."""

    def __init__(self, settings: Settings) -> None:
        lanes = 1 if settings.on_sqlite else LANES
        self._engine = make_engine(settings, "autocommit", pool_size=lanes)
        self._watchdog = SocketTimeout()
        # Last in, first out: the connection used last is the one most likely alive.
        self._free: queue.LifoQueue[PooledConnection] = queue.LifoQueue()
        for _ in range(lanes):
            self._free.put(PooledConnection(self._engine, self._watchdog))
        self._closed_until = 0.0
        self.last_write = LastWrite()

    def store(self, row: Row) -> Stored:
        """Commit one delivery, or count its copy; NotStoredError within 5 s."""
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

    def _store_each_once(
        self, lane: PooledConnection, rows: Sequence[Row], until: float
    ) -> list[Outcome]:
        # A statement cannot touch a row twice: a copy that came with its original goes after it.
        firsts = {row["id"]: place for place, row in reversed(list(enumerate(rows)))}
        # In one order for all lanes: two that lock the same rows crosswise would wait for ever.
        places = [firsts[id_] for id_ in sorted(firsts)]
        found = dict(zip(places, self._store(lane, [rows[n] for n in places], until), strict=True))
        copies = sorted(set(range(len(rows))).difference(places))
        later = [rows[place] for place in copies] if not _is_away(found.values()) else []
        found |= zip(copies, self._one_by_one(lane, later, until), strict=False)
        return [found.get(place) or DatabaseAwayError() for place in range(len(rows))]

    def _store(
        self, lane: PooledConnection, rows: Sequence[Row], until: float, *, hurry: bool = False
    ) -> list[Outcome]:
        if time.monotonic() >= until:
            return _refuse(rows, "no time was left")
        try:
            stored = lane.store(rows, until, hurry=hurry)
        except Exception as error:  # noqa: BLE001 - the others are not to suffer, whatever it is
            if not _is_of_a_row(error):
                self.last_write.failed(error)
                lane.close()
                return _refuse(rows, reason(error))
            lane.recover()
            if len(rows) == 1:
                return [_refuse_one(rows[0], error)]
        else:
            self.last_write.succeeded()
            return list(stored)
        return self._one_by_one(lane, rows, until, hurry=True)

    def _one_by_one(
        self, lane: PooledConnection, rows: Sequence[Row], until: float, *, hurry: bool = False
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for row in rows:
            # Where the database is away for one it is for all that follow.
            is_away = _is_away(outcomes)
            one = [DatabaseAwayError()] if is_away else self._store(lane, [row], until, hurry=hurry)
            outcomes.extend(one)
        return outcomes

    def _close_for_a_moment(self, outcomes: list[Outcome], until: float) -> list[Outcome]:
        """Where the database let all of them wait, nobody else is made to for a moment."""
        now = time.monotonic()
        is_slow = now - (until - STORE_SECONDS) >= SLOW_SECONDS
        # What a row of its own is the reason for says nothing of the database.
        if is_slow and _is_away(outcomes) and not any(isinstance(one, Stored) for one in outcomes):
            self._closed_until = now + BREAKER_SECONDS
        return outcomes


def _is_away(outcomes: Iterable[Outcome]) -> bool:
    return any(isinstance(one, DatabaseAwayError) for one in outcomes)


def _is_of_a_row(error: Exception) -> bool:
    what = classify(error)
    if what is ErrorKind.LOCKED:
        # The server says at which row it waited; of a table's lock it has nothing to say.
        return isinstance(error, psycopg.Error) and error.diag.context is not None
    return what in (ErrorKind.BAD_ROW, ErrorKind.BUG)


def _refuse_one(row: Row, error: Exception) -> Outcome:
    what = classify(error)
    if what is ErrorKind.BUG and _once_per_second.is_due():
        # With its traceback, for whoever has to mend it; one a second is enough.
        logger.error("not stored", delivery_id=row["id"], exc_info=error)
    else:
        logger.warning("not stored", delivery_id=row["id"], error=reason(error))
    if what is ErrorKind.LOCKED:
        return LockedError()
    return UnstorableError() if what is ErrorKind.BAD_ROW else NotStoredError()


def _refuse(rows: Sequence[Row], why: str) -> list[Outcome]:
    logger.warning("not stored", error=why, deliveries=len(rows))
    return [DatabaseAwayError() for _ in rows]
