"""The RQ side of a worker dyno: one worker on one queue, whose horses drain.

This process forks, so it holds no connection and no thread: a horse opens its own, through an
engine that has its statements compiled and was never connected.
"""

import signal
import ssl
import time
from types import FrameType

import redis
import structlog
from rq.worker import HerokuWorker
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.database_errors import is_away, reason
from models.sentry import flush_sentry, set_up_sentry
from models.settings import Settings
from workers.drain import Drain
from workers.process import HORSE_STOP, die_with_parent, name_process
from workers.queue import (
    DRAIN,
    links_queue,
    listed_jobs,
    patient_redis,
    queue_name,
    quick_redis,
)
from workers.stop import Stop
from workers.tools import make_tools

# RQ's own defaults let a killed worker's job lie for a quarter of an hour.
WORKER_TTL_SECONDS = 60
MAINTENANCE_SECONDS = 30
MONITORING_SECONDS = 5
REDIS_PAUSE_SECONDS = 1.0
PROBE = "recall-links:probe"
PROBE_TTL_SECONDS = 60

logger = structlog.stdlib.get_logger(__name__)


class Horse:
    """What a horse runs: one drain, with tools of its own, stopped by HORSE_STOP."""

    def __init__(self, settings: Settings, context: ssl.SSLContext, engine: Engine) -> None:
        self._settings = settings
        self._context = context
        # Never connected in this process: each horse opens, and ends, connections of its own.
        self._engine = engine
        self.stop = Stop()

    def drain(self) -> int:
        """Drain once; returns how many bots were settled."""
        # RQ puts a horse into a group of its own: it would outlive a killed worker and drain on.
        die_with_parent(HORSE_STOP)
        name_process("horse")
        set_up_sentry(self._settings)
        tools = make_tools(self._settings, self._context, self._engine)
        try:
            return Drain(tools, self.stop).run()
        except SQLAlchemyError as error:
            if not is_away(error):
                raise
            # Not this job's failure: the sweep waits for the database, and what is due stays due.
            logger.warning("the database is away, drain ended", reason=reason(error))
            return 0
        finally:
            tools.engine.dispose()
            flush_sentry()


class LinksWorker(HerokuWorker):
    """RQ's worker, told to stop: its horse is asked, in an orderly way, before it is forced."""

    horse: Horse
    log_result_lifespan = False

    def subscribe(self) -> None:
        """Listen to no commands: they need a thread, and anybody in Redis could send them."""

    def setup_work_horse_signals(self) -> None:
        """In the horse: only HORSE_STOP counts, since a dyno's SIGTERM goes to every process."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(HORSE_STOP, self._stop_horse)

    def handle_warm_shutdown_request(self) -> None:
        """In the worker: pass the stop on to a horse at work."""
        if self.horse_pid:
            self.kill_horse(sig=HORSE_STOP)  # type: ignore[arg-type]

    def _stop_horse(self, _signum: int, _frame: FrameType | None) -> None:
        self.horse.stop.request()


def run_worker(settings: Settings, context: ssl.SSLContext, engine: Engine) -> None:
    """Work until SIGTERM, or until Redis has been away too long for RQ; waits for it at first."""
    hasty, client = quick_redis(settings), patient_redis(settings)
    if hasty is None or client is None:
        return
    # The patient client would keep its silence for a minute before it gave up.
    _wait_for(hasty)
    horse = Horse(settings, context, engine)
    jobs = listed_jobs({DRAIN: horse.drain})
    # No scheduler: retries live in SQL, and RQ's own would need one that never dies.
    worker = LinksWorker(
        [links_queue(client, queue_name(settings), jobs)],
        connection=client,
        job_class=jobs,
        serializer="json",
        worker_ttl=WORKER_TTL_SECONDS,
        maintenance_interval=MAINTENANCE_SECONDS,
        job_monitoring_interval=MONITORING_SECONDS,
        log_job_description=False,
    )
    worker.horse = horse
    try:
        worker.work(logging_level="WARNING")
    except redis.RedisError as error:
        # RQ gives up where it cannot say goodbye; the dyno starts another that waits.
        logger.warning("Redis failed the RQ worker", error=type(error).__name__)


def _wait_for(client: redis.Redis) -> None:
    said = False
    while True:
        try:
            # A full Redis answers a ping, and then fails RQ's first write.
            client.set(PROBE, "", ex=PROBE_TTL_SECONDS)
        except redis.RedisError as error:
            if not said:
                logger.warning("waiting for Redis", error=type(error).__name__)
            said = True
            time.sleep(REDIS_PAUSE_SECONDS)
        else:
            return
