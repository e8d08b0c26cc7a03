"""The nightly reconcile of the last 26 hours, by one worker for all.

It runs in a thread of the poller, with its own connections to the database and to Recall. Drains
come first: before each page it waits while bots are due. It uses half of the limit of List Bots.
"""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import time, timedelta
from time import monotonic

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import reason
from models.core.engine import make_engine
from models.tables.base import database_time
from models.tables.reconcile_run import NIGHTLY
from models.tables.workspace_state import NIGHTLY_RECONCILE
from workers.db.nightly import NightlySchedule, NightlyThread, NightlyTurn
from workers.db.transactions import in_transaction
from workers.linking.backlog import look
from workers.linking.context import WorkerContext
from workers.recall_api.bot_list import BotListClient
from workers.recall_api.circuit import read_workspace
from workers.recall_api.client import Recall
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.retry_policy import BACKOFF_CAP
from workers.recall_api.transport import LIST_BYTES, HttpClient
from workers.reconcile.reconciler import Reconciler
from workers.reconcile.runs import RunProgress, RunUnderWayError, resume_run
from workers.shutdown import Stop

# Longer than a day, so that two nights leave no gap.
WINDOW = timedelta(hours=26)
# Thirty pages a minute, of the sixty that Recall allows.
PACE_SECONDS = 2.0
# A fleet that always has work is compared as well, at least a page a minute.
LONGEST_WAIT = 60.0
CALL_SECONDS = 60.0
# How long a page under way may take to end after a stop.
STOP_SECONDS = 2.0

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReconcileTurn(NightlyTurn):
    """One night's turn and its run, once that has begun."""

    run_id: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no turn has stored."""
        if not isinstance(self.run_id, int | None):
            raise TypeError("the run is not a number")


class NightlyReconcile:
    """Starts the nightly reconcile when it is due and no other worker has it."""

    def __init__(
        self,
        context: WorkerContext,
        stop: Stop,
        pace: float = PACE_SECONDS,
        longest_wait: float = LONGEST_WAIT,
    ) -> None:
        self._context = context
        self._stop = stop
        self._pace = pace
        self._longest_wait = longest_wait
        at = context.settings.reconcile_at
        self._is_on = at is not None
        self._schedule = NightlySchedule(NIGHTLY_RECONCILE, at or time(), ReconcileTurn)
        self._thread = NightlyThread("reconcile", context.engine, self._schedule.claim, self.run)

    def start_when_due(self) -> bool:
        """Start it if it is due, looking once a minute; returns whether it was started."""
        return self._is_on and self._thread.start_when_due()

    def join(self, seconds: float = STOP_SECONDS) -> bool:
        """Wait for a reconcile that was started here; returns whether it is over."""
        return self._thread.join(seconds)

    def run(self, turn: ReconcileTurn) -> RunProgress | None:
        """Reconcile, or resume what was interrupted; None when it was not this worker's to do."""
        try:
            with self._night(turn) as night:
                return night.run()
        except RunUnderWayError:
            logger.info("nightly reconcile left to another process")
        except SQLAlchemyError as error:
            logger.warning("nightly reconcile interrupted", reason=reason(error))
        return None

    @contextmanager
    def _night(self, turn: ReconcileTurn) -> Iterator["_Night"]:
        context = self._context
        settings = context.settings
        # Its own connections: the drain's must be free when bots are due.
        engine, http = make_engine(settings, "write"), HttpClient(context.ssl, LIST_BYTES)
        recall = Recall(http, settings.api_url, settings.api_key, seconds=CALL_SECONDS)
        bucket = context.buckets.bot_list
        client = BotListClient(
            recall, context.limits, bucket, patience=BACKOFF_CAP, stop=self._stop
        )
        stopped: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._stop.wakes(stopped)
        try:
            waits = _Waits(self._stop, stopped, self._pace, self._longest_wait)
            yield _Night(engine, client, self._schedule, turn, waits)
        finally:
            self._stop.forget(stopped)
            http.close()
            engine.dispose()


@dataclass(frozen=True, slots=True)
class _Waits:
    stop: Stop
    stopped: "queue.SimpleQueue[object]"
    pace: float
    longest: float

    def rest(self, seconds: float) -> bool:
        """Wait; returns at once, and False, when a stop is requested."""
        if not self.stop.is_requested:
            try:
                self.stopped.get(timeout=seconds)
            except queue.Empty:
                return True
        return False


class _Night:
    """One turn at work: each wait and each page renews its lease."""

    def __init__(
        self,
        engine: Engine,
        client: BotListClient,
        schedule: NightlySchedule[ReconcileTurn],
        turn: ReconcileTurn,
        waits: _Waits,
    ) -> None:
        self._engine = engine
        self._schedule = schedule
        self._turn = turn
        self._waits = waits
        self._reconciler = Reconciler(
            engine, client, NIGHTLY, pause=self._pause, may_go_on=self._may_go_on
        )

    def run(self) -> RunProgress | None:
        """Work until the run is over or interrupted; None when there is nothing to do."""
        begun, self._turn = in_transaction(self._engine, self._begin)
        if begun is None:
            return None
        done = self._reconciler.run(begun)
        if done.is_over:
            self._keep(is_over=True)
            logger.info("nightly reconcile done", bots=done.bots_seen, missed=done.bots_missed)
            return done
        logger.warning("nightly reconcile interrupted", reason=done.error)
        if self._waits.stop.is_requested:
            # Another worker may resume it at once.
            self._keep(seconds=0)
        return done

    def _begin(self, connection: Connection) -> tuple[RunProgress | None, ReconcileTurn]:
        if read_workspace(connection).open_for:
            # The turn is tried again when its lease has ended.
            return None, self._turn
        if self._turn.run_id is not None:
            run = resume_run(connection, self._turn.run_id)
            # A run that is over is not begun again, even if its worker died before it said so.
            is_over = run is None
            return run, self._schedule.keep(connection, self._turn, is_over=is_over)
        run = self._reconciler.begin(connection, database_time(connection) - WINDOW)
        # In one transaction with the run: a turn has one run, however often it is resumed.
        return run, self._schedule.keep(connection, replace(self._turn, run_id=run.run_id))

    def _may_go_on(self) -> bool:
        until = monotonic() + self._waits.longest
        while self._waits.rest(self._waits.pace):
            with self._engine.begin() as connection:
                self._schedule.keep(connection, self._turn)
                is_busy = look(connection).is_work
            if not is_busy or monotonic() >= until:
                return True
        return False

    def _pause(self, seconds: float) -> None:
        self._keep()
        if not self._waits.rest(seconds):
            raise RecallError(Fault.CUT, Endpoint.BOTS)

    def _keep(self, *, is_over: bool = False, seconds: float | None = None) -> None:
        with self._engine.begin() as connection:
            self._schedule.keep(connection, self._turn, is_over=is_over, seconds=seconds)
