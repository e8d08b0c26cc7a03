"""The RQ worker of a dyno: one process, on one queue, that drains in itself.

It forks for no job, so its connections to the database, to Redis and to Recall, and its compiled
statements, serve one drain after the other. What a fork would guard against is guarded elsewhere:
the supervisor ends a process that hangs, and leases and `crashes` outlive one that dies.
"""

import signal
import ssl
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import redis
import structlog
from rq import Queue
from rq.exceptions import StopRequested
from rq.job import Job
from rq.worker import SimpleWorker

from models.core import redis_errors
from models.core.database_errors import is_unavailable, reason
from models.core.sentry import flush_sentry, set_up_sentry
from models.settings.environment import Settings
from workers.linking.context import WorkerContext, make_context
from workers.linking.drain import Drain
from workers.processes.heartbeat import peak_memory_mb
from workers.processes.linux import name_process
from workers.queue.jobs import DRAIN, links_queue, listed_jobs, queue_name
from workers.queue.redis_clients import patient_redis, quick_redis, write_probe
from workers.queue.redis_news import RedisNews
from workers.shutdown import Stop

# RQ's own defaults let a killed worker's job lie for a quarter of an hour.
WORKER_TTL_SECONDS = 60
MAINTENANCE_SECONDS = 30
MONITORING_SECONDS = 5
REDIS_PAUSE_SECONDS = 1.0
# How `ps` tells a worker that waits from one at work.
RQ_WORKER, DRAINING = "rq worker", "rq draining"
# A process that is replaced now and then keeps no leak of any library for ever.
MOST_JOBS = 5_000
MOST_MEMORY_MB = 256

logger = structlog.stdlib.get_logger(__name__)


class DrainJob:
    """The one job: one drain with the tools of this process, ended early by a stop."""

    def __init__(self, tools: WorkerContext, stop: Stop) -> None:
        self._tools = tools
        self._stop = stop

    def drain(self) -> int:
        """Drain once; returns how many bots were settled."""
        name_process(DRAINING)
        try:
            return Drain(self._tools, self._stop).run()
        except Exception as error:
            # A time-out may have cut into a statement: its connection is of no more use.
            self._tools.engine.dispose()
            if not is_unavailable(error):
                raise
            # Not this job's failure: the poller waits for the database, and what is due stays due.
            logger.warning("the database is away, drain ended", reason=reason(error))
            return 0
        finally:
            name_process(RQ_WORKER)


class DrainWorker(SimpleWorker):
    """RQ's worker in one process: it says that it lives, and stops with the drain under way."""

    log_result_lifespan = False
    max_connection_wait_time = 5
    on_beat: Callable[[], None]
    on_stop: Callable[[], None]

    def subscribe(self) -> None:
        """Listen to no commands: they need a thread, and anybody in Redis could send them."""

    def heartbeat(self, *arguments: Any, **options: Any) -> None:
        """Tell the supervisor, then Redis."""
        self.on_beat()
        super().heartbeat(*arguments, **options)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job, and end this process once it has grown too large."""
        super().execute_job(job, queue)
        if (memory := peak_memory_mb()) > MOST_MEMORY_MB:
            logger.info("the RQ worker has grown, replacing it", mb=round(memory))
            raise StopRequested

    def handle_warm_shutdown_request(self) -> None:
        """Have the drain under way end."""
        self.on_stop()

    def set_shutdown_requested_date(self) -> None:
        """Tell Redis nothing: this runs in a signal handler, and Redis may be away."""

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stay with the orderly stop: a dyno's processes are told twice, and it is bounded."""


def run_worker(settings: Settings, context: ssl.SSLContext, beat: Callable[[], None]) -> None:
    """Work until SIGTERM, or until Redis has been away too long for RQ; waits for it at first."""
    hasty, client = quick_redis(settings), patient_redis(settings)
    if hasty is None or client is None:
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The patient client would keep its silence for half a minute before it gave up.
    wait_for_redis(hasty, beat)
    set_up_sentry(settings)
    tools, stop = make_context(settings, context), Stop()
    worker = _worker(settings, client, DrainJob(tools, stop))
    worker.on_beat, worker.on_stop = beat, stop.request
    try:
        worker.work(logging_level="WARNING", max_jobs=MOST_JOBS)
    except redis.RedisError as error:
        # RQ gives up where it cannot say goodbye; the supervisor starts another that waits.
        said = {"reason": redis_errors.reason(error), "remedy": redis_errors.remedy(error)}
        logger.warning("Redis failed the RQ worker", **said)
    finally:
        tools.close()
        flush_sentry()


def _worker(settings: Settings, client: redis.Redis, job: DrainJob) -> DrainWorker:
    jobs = listed_jobs({DRAIN: job.drain})
    # No scheduler: retries live in SQL, and RQ's own would need one that never dies.
    return DrainWorker(
        [links_queue(client, queue_name(settings), jobs)],
        connection=client,
        job_class=jobs,
        serializer="json",
        worker_ttl=WORKER_TTL_SECONDS,
        maintenance_interval=MAINTENANCE_SECONDS,
        job_monitoring_interval=MONITORING_SECONDS,
        log_job_description=False,
    )


def wait_for_redis(client: redis.Redis, beat: Callable[[], None]) -> None:
    """Return when it takes what is written; until then say why it does not."""
    news = RedisNews("waiting for Redis")
    while True:
        beat()
        try:
            write_probe(client)
        except redis.RedisError as error:
            news.note(error)
            time.sleep(REDIS_PAUSE_SECONDS)
        else:
            return
