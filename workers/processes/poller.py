"""The sweep: every worker dyno looks for work by itself, so that a lost bell delays little.

It runs in a process of its own: draining here, while Redis is away, needs threads and SQL, which a
process that RQ forks must not hold.
"""

import queue
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import reason
from models.core.database_remedies import describe, remedy
from workers.calendars.nightly import NightlyCheck
from workers.linking.backfill import Backfill
from workers.linking.backlog import PendingWork, look
from workers.linking.bot_outcomes import OutcomeFill
from workers.linking.context import WorkerContext
from workers.linking.drain import Drain
from workers.linking.meeting_keys import fill_meeting_keys
from workers.linking.title_index import index_titles
from workers.privacy.retention import Retention
from workers.processes.heartbeat import Heartbeat
from workers.queue.redis_news import RedisNews
from workers.shutdown import Stop

# Work that a rung bell has not moved for so many sweeps is drained here: the ring may have gone
# to a worker that hangs, and two drains at once do no harm.
PATIENT_SWEEPS = 2
SHORTEST_REST = 0.1

logger = structlog.stdlib.get_logger(__name__)


class Poller:
    """Looks, rings, and drains by itself where nobody hears the bell."""

    def __init__(
        self,
        tools: WorkerContext,
        stop: Stop,
        on_look: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tools = tools
        self._on_look = on_look
        self._stop = stop
        self._clock = clock
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._heartbeat = Heartbeat(tools)
        self._retention = Retention(tools.engine, tools.settings)
        fills = (index_titles, fill_meeting_keys)
        self._backfills = [Backfill(tools.engine, fill) for fill in fills]
        self._outcome_fill = OutcomeFill(tools.engine)
        self._calendars = NightlyCheck(tools, stop)
        self._unmoved_since: float | None = None
        self._last_attempt = -1
        self._redis_news = RedisNews("Redis is away: draining without it", clock)
        self._is_blind = False

    def run(self) -> None:
        """Sweep until asked to stop."""
        self._stop.wakes(self._inbox)
        while not self._stop.is_requested:
            self._on_look()
            rest = self._sweep_or_wait()
            try:
                self._inbox.get(timeout=max(SHORTEST_REST, rest))
            except queue.Empty:
                continue

    def sweep(self) -> float:
        """Look once and act on it; returns the seconds until it is worth looking again."""
        with self._tools.engine.begin() as connection:
            outlook = look(connection)
        if outlook.is_work:
            self._get_it_done(outlook)
        else:
            self._unmoved_since = None
        # After the work: these are the only things here that can wait.
        self._heartbeat.beat_when_due()
        self._retention.purge_when_due()
        for backfill in self._backfills:
            backfill.fill_when_due()
        self._outcome_fill.fill_when_due()
        self._calendars.start_when_due()
        every = self._tools.settings.sweep_seconds
        return every if outlook.next_due_in is None else min(every, outlook.next_due_in)

    def _sweep_or_wait(self) -> float:
        try:
            rest = self.sweep()
        except SQLAlchemyError as error:
            if not self._is_blind:
                _say(error)
            self._is_blind = True
            return self._tools.settings.sweep_seconds
        if self._is_blind:
            logger.info("the database is back")
        self._is_blind = False
        return rest

    def _get_it_done(self, outlook: PendingWork) -> None:
        # Always rung first: an RQ worker that is idle starts sooner than a drain of our own would.
        is_heard = self._tools.bell.ring()
        self._redis_news.note(self._tools.bell.failure)
        if not is_heard or self._is_unmoved(outlook):
            Drain(self._tools, self._stop).run()

    def _is_unmoved(self, outlook: PendingWork) -> bool:
        now = self._clock()
        # Somebody settled a bot since the last look: work is moving, whoever moves it.
        if self._unmoved_since is None or outlook.last_attempt != self._last_attempt:
            self._unmoved_since = now
        self._last_attempt = outlook.last_attempt
        return now - self._unmoved_since >= PATIENT_SWEEPS * self._tools.settings.sweep_seconds


def _say(error: SQLAlchemyError) -> None:
    if describe(error) is None:
        # A bug of ours, or tables that no release has made yet: waiting alone may not mend it.
        logger.error("waiting for the database", reason=reason(error))
    else:
        logger.warning("waiting for the database", reason=reason(error), remedy=remedy(error))
