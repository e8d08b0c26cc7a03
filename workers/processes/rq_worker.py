"""The RQ worker of a dyno: one process, on one queue, that runs drains without forking.

Its connections to the database, to Redis and to Recall, and its compiled statements, are reused
from drain to drain. What a fork would protect from is handled elsewhere: the supervisor kills a
process that hangs, and leases and `crashes` outlive one that dies.
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

# With RQ's defaults the job of a killed worker would be found after a quarter of an hour.
WORKER_TTL_SECONDS = 60
MAINTENANCE_SECONDS = 30
MONITORING_SECONDS = 5
REDIS_PAUSE_SECONDS = 1.0
# The names that `ps` shows for a worker that waits and one that drains.
RQ_WORKER, DRAINING = "rq worker", "rq draining"
# The process is replaced now and then, in case a library leaks memory.
MOST_JOBS = 5_000
MOST_MEMORY_MB = 256

logger = structlog.stdlib.get_logger(__name__)


class DrainJob:
    """The one job: one drain with the context of this process, ended early by a stop."""

    def __init__(self, context: WorkerContext, stop: Stop) -> None:
        self._context = context
        self._stop = stop

    def drain(self) -> int:
        """Drain once; returns how many bots were saved."""
        name_process(DRAINING)
        try:
            return Drain(self._context, self._stop).run()
        except Exception as error:
            # A time-out may have interrupted a statement, so the connection cannot be used.
            self._context.engine.dispose()
            if not is_unavailable(error):
                raise
            # Not a failure of the job: the poller waits for the database, and bots stay due.
            logger.warning("database away, drain ended", reason=reason(error))
            return 0
        finally:
            name_process(RQ_WORKER)


class DrainWorker(SimpleWorker):
    """RQ's worker in one process: it reports to the supervisor, and a stop ends its drain early."""

    log_result_lifespan = False
    max_connection_wait_time = 5
    on_beat: Callable[[], None]
    on_stop: Callable[[], None]

    def subscribe(self) -> None:
        """Listen to no commands: they need a thread, and anybody in Redis could send them."""

    def heartbeat(self, *arguments: Any, **options: Any) -> None:
        """Beat to the supervisor, then to Redis."""
        self.on_beat()
        super().heartbeat(*arguments, **options)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job, and end this process once it has grown too large."""
        super().execute_job(job, queue)
        if (memory := peak_memory_mb()) > MOST_MEMORY_MB:
            logger.info("RQ worker uses too much memory, replacing it", mb=round(memory))
            raise StopRequested

    def handle_warm_shutdown_request(self) -> None:
        """End the current drain early."""
        self.on_stop()

    def set_shutdown_requested_date(self) -> None:
        """Write nothing to Redis: this runs in a signal handler, and Redis may be away."""

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """Ignore a second signal: Heroku sends two, and the orderly stop takes 4 s at most."""


def run_worker(settings: Settings, tls: ssl.SSLContext, beat: Callable[[], None]) -> None:
    """Wait for Redis, then work until SIGTERM or until Redis was away too long for RQ."""
    quick, client = quick_redis(settings), patient_redis(settings)
    if quick is None or client is None:
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The patient client would give no error for half a minute.
    wait_for_redis(quick, beat)
    set_up_sentry(settings)
    context, stop = make_context(settings, tls), Stop()
    worker = _worker(settings, client, DrainJob(context, stop))
    worker.on_beat, worker.on_stop = beat, stop.request
    try:
        worker.work(logging_level="WARNING", max_jobs=MOST_JOBS)
    except redis.RedisError as error:
        # RQ gave up; the supervisor starts another process, which waits for Redis.
        said = {"reason": redis_errors.reason(error), "remedy": redis_errors.remedy(error)}
        logger.warning("RQ worker ended because of Redis", **said)
    finally:
        context.close()
        flush_sentry()


def _worker(settings: Settings, client: redis.Redis, job: DrainJob) -> DrainWorker:
    jobs = listed_jobs({DRAIN: job.drain})
    # No scheduler: retries are in the database.
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
    """Return once Redis accepts writes; until then log why it does not."""
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
