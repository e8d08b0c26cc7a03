"""The poller: every worker dyno looks for work by itself, so that a lost wake-up delays little.

It is a process of its own, since it also drains while Redis is unavailable or RQ's process hangs.
"""

import queue
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import reason
from models.core.database_remedies import describe, remedy
from workers.alerts.alerts import Alerts
from workers.calendars.nightly import NightlyCheck
from workers.linking.backfill import Backfill
from workers.linking.backlog import PendingWork, look
from workers.linking.context import WorkerContext
from workers.linking.drain import Drain
from workers.linking.meeting_keys import fill_meeting_keys
from workers.linking.title_index import index_titles
from workers.outbox.links import adopt_links
from workers.privacy.retention import Retention
from workers.processes.heartbeat import Heartbeat
from workers.queue.redis_news import RedisNews
from workers.reconcile.nightly import NightlyReconcile
from workers.recordings.bot_outcomes import OutcomeFill
from workers.recordings.expiring import report_expiring
from workers.shutdown import Stop

# If work has not moved for so many sweeps in spite of wake-ups, the poller drains by itself: the
# wake-up may have gone to a worker that hangs, and two drains at once do no harm.
PATIENT_SWEEPS = 2
SHORTEST_REST = 0.1

logger = structlog.stdlib.get_logger(__name__)


class Poller:
    """Looks for work and wakes an RQ worker, or drains by itself if that does not help."""

    def __init__(
        self,
        context: WorkerContext,
        stop: Stop,
        on_look: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._on_look = on_look
        self._stop = stop
        self._clock = clock
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._heartbeat = Heartbeat(context)
        self._retention = Retention(context.engine, context.settings)
        fills = (index_titles, fill_meeting_keys, adopt_links, report_expiring)
        self._backfills = [Backfill(context.engine, fill) for fill in fills]
        self._outcome_fill = OutcomeFill(context.engine)
        self._calendars = NightlyCheck(context, stop)
        self._reconcile = NightlyReconcile(context, stop)
        self._alerts = Alerts(context, lambda: self._inbox.put(None))
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
        self._alerts.finish()
        self._reconcile.join()

    def sweep(self) -> float:
        """Look once and act on it; returns the seconds until the next look."""
        with self._context.engine.begin() as connection:
            pending = look(connection)
        if pending.is_work:
            self._start_work(pending)
        else:
            self._unmoved_since = None
        # After the work, since these can wait.
        self._heartbeat.beat_when_due()
        self._retention.purge_when_due()
        for backfill in self._backfills:
            backfill.fill_when_due()
        self._outcome_fill.fill_when_due()
        self._calendars.start_when_due()
        self._reconcile.start_when_due()
        self._alerts.run_when_due()
        every = self._context.settings.sweep_seconds
        return every if pending.next_due_in is None else min(every, pending.next_due_in)

    def _sweep_or_wait(self) -> float:
        try:
            rest = self.sweep()
        except SQLAlchemyError as error:
            if not self._is_blind:
                _log(error)
            self._is_blind = True
            return self._context.settings.sweep_seconds
        if self._is_blind:
            logger.info("the database is back")
        self._is_blind = False
        return rest

    def _start_work(self, pending: PendingWork) -> None:
        # Always wake a worker first: if it is idle it starts sooner than a drain here would.
        is_sent = self._context.wakeup.send()
        self._redis_news.note(self._context.wakeup.failure)
        if not is_sent or self._is_unmoved(pending):
            Drain(self._context, self._stop).run()

    def _is_unmoved(self, pending: PendingWork) -> bool:
        now = self._clock()
        # A new attempt since the last look: some worker is active.
        if self._unmoved_since is None or pending.last_attempt != self._last_attempt:
            self._unmoved_since = now
        self._last_attempt = pending.last_attempt
        return now - self._unmoved_since >= PATIENT_SWEEPS * self._context.settings.sweep_seconds


def _log(error: SQLAlchemyError) -> None:
    if describe(error) is None:
        # A bug of ours, or a migration that is still missing: waiting alone may not help.
        logger.error("waiting for the database", reason=reason(error))
    else:
        logger.warning("waiting for the database", reason=reason(error), remedy=remedy(error))
