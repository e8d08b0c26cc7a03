"""Commits deliveries: one statement, one commit, within five seconds or not at all."""

import queue
import time
from collections.abc import Iterable, Sequence

import psycopg
import structlog

from models.core.database_errors import ErrorKind, classify, reason
from models.core.engine import make_engine
from models.core.logging import OncePerSecond
from models.settings.environment import Settings
from webhook.receiver.batch_wait import current_batch_greenlet, wait_for_batch
from webhook.receiver.insert import Outcome, PooledConnection, Row, Stored
from webhook.receiver.socket_timeout import SocketTimeout
from webhook.receiver.write_check import LastWrite

# The sender waits 15 s (https://docs.recall.ai/docs/bot-status-change-events); we promise 5.
STORE_SECONDS = 4.0
# An attempt that took this long ran into a timeout; it was not refused.
SLOW_SECONDS = 0.9
RETRY_AFTER_SECONDS = 5
BREAKER_SECONDS = 2.0
# An insert takes a fraction of a millisecond, so a few connections serve many requests, and a
# 20-connection plan has room for two deploys side by side. SQLite has one writer anyway.
CONNECTIONS = 4

logger = structlog.stdlib.get_logger(__name__)
_once_per_second = OncePerSecond()


class NotStoredError(Exception):
    """Nothing was stored; the sender should retry after `retry_after` seconds."""

    retry_after = RETRY_AFTER_SECONDS
    word = "not_stored"


class DatabaseAwayError(NotStoredError):
    """The database is not available to any delivery."""

    word = "database_away"


class UnstorableError(NotStoredError):
    """The database refuses this delivery's contents; others can be stored."""


class LockedError(NotStoredError):
    """Another transaction holds the row of an earlier copy of this delivery."""

    word = "locked"


class Inbox:
    """Stores deliveries through a few autocommit connections that stay open."""

    def __init__(self, settings: Settings) -> None:
        connections = 1 if settings.on_sqlite else CONNECTIONS
        self._engine = make_engine(settings, "autocommit", pool_size=connections)
        self._socket_timeout = SocketTimeout()
        # Last in, first out: the connection used last is most likely still alive.
        self._free: queue.LifoQueue[PooledConnection] = queue.LifoQueue()
        for _ in range(connections):
            self._free.put(PooledConnection(self._engine, self._socket_timeout))
        self._open_until = 0.0
        self.last_write = LastWrite()

    def store(self, row: Row) -> Stored:
        """Commit one delivery or count its copy; NotStoredError within 5 s."""
        request = current_batch_greenlet()
        if request is not None:
            outcome: Outcome = wait_for_batch(request, row)
        else:
            [outcome] = self.store_all([row], time.monotonic() + STORE_SECONDS)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def store_all(self, rows: Sequence[Row], until: float) -> list[Outcome]:
        """Commit deliveries together; returns an outcome for each by the monotonic time `until`."""
        try:
            connection = self._free.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return self._trip_breaker(_refuse(rows, "no connection was free"), until)
        try:
            # Checked here: the breaker may have opened while these waited for a connection.
            if not self._open_until <= time.monotonic() < until:
                return [DatabaseAwayError() for _ in rows]
            return self._trip_breaker(self._store_each_once(connection, rows, until), until)
        finally:
            self._free.put(connection)

    def close(self) -> None:
        """Close the connections; only when nothing is being stored."""
        while not self._free.empty():
            self._free.get().close()
        self._socket_timeout.close()
        self._engine.dispose()

    def _store_each_once(
        self, connection: PooledConnection, rows: Sequence[Row], until: float
    ) -> list[Outcome]:
        # One statement cannot touch a row twice, so copies in the same batch follow their original.
        firsts = {row["id"]: place for place, row in reversed(list(enumerate(rows)))}
        # Sorted, so that two connections cannot deadlock on the same rows.
        places = [firsts[id_] for id_ in sorted(firsts)]
        found = dict(
            zip(places, self._store(connection, [rows[n] for n in places], until), strict=True)
        )
        copies = sorted(set(range(len(rows))).difference(places))
        later = [rows[place] for place in copies] if not _is_away(found.values()) else []
        found |= zip(copies, self._one_by_one(connection, later, until), strict=False)
        return [found.get(place) or DatabaseAwayError() for place in range(len(rows))]

    def _store(
        self,
        connection: PooledConnection,
        rows: Sequence[Row],
        until: float,
        *,
        hurry: bool = False,
    ) -> list[Outcome]:
        if time.monotonic() >= until:
            return _refuse(rows, "no time left")
        try:
            stored = connection.store(rows, until, hurry=hurry)
        except Exception as error:  # noqa: BLE001 - one row's error must not fail the others
            if not _is_of_a_row(error):
                self.last_write.failed(error)
                connection.close()
                return _refuse(rows, reason(error))
            connection.recover()
            if len(rows) == 1:
                return [_refuse_one(rows[0], error)]
        else:
            self.last_write.succeeded()
            return list(stored)
        return self._one_by_one(connection, rows, until, hurry=True)

    def _one_by_one(
        self,
        connection: PooledConnection,
        rows: Sequence[Row],
        until: float,
        *,
        hurry: bool = False,
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for row in rows:
            # Once the database is unavailable for one row, it is for the rest.
            is_away = _is_away(outcomes)
            one = (
                [DatabaseAwayError()]
                if is_away
                else self._store(connection, [row], until, hurry=hurry)
            )
            outcomes.extend(one)
        return outcomes

    def _trip_breaker(self, outcomes: list[Outcome], until: float) -> list[Outcome]:
        """Open the breaker for a moment if the database kept all of these waiting."""
        now = time.monotonic()
        is_slow = now - (until - STORE_SECONDS) >= SLOW_SECONDS
        # An error caused by one row says nothing about the database.
        if is_slow and _is_away(outcomes) and not any(isinstance(one, Stored) for one in outcomes):
            self._open_until = now + BREAKER_SECONDS
        return outcomes


def _is_away(outcomes: Iterable[Outcome]) -> bool:
    return any(isinstance(one, DatabaseAwayError) for one in outcomes)


def _is_of_a_row(error: Exception) -> bool:
    what = classify(error)
    if what is ErrorKind.LOCKED:
        # The server names the row it waited for; for a table lock it names none.
        return isinstance(error, psycopg.Error) and error.diag.context is not None
    return what in (ErrorKind.BAD_ROW, ErrorKind.BUG)


def _refuse_one(row: Row, error: Exception) -> Outcome:
    what = classify(error)
    if what is ErrorKind.BUG and _once_per_second.is_due():
        # With a traceback for the developer; one a second is enough.
        logger.error("not stored", delivery_id=row["id"], exc_info=error)
    else:
        logger.warning("not stored", delivery_id=row["id"], error=reason(error))
    if what is ErrorKind.LOCKED:
        return LockedError()
    return UnstorableError() if what is ErrorKind.BAD_ROW else NotStoredError()


def _refuse(rows: Sequence[Row], why: str) -> list[Outcome]:
    logger.warning("not stored", error=why, deliveries=len(rows))
    return [DatabaseAwayError() for _ in rows]
