"""The one RQ queue, its one job, and the bell: a hint in Redis that there is work in SQL.

Nothing here is needed for correctness. A hint may be lost, doubled or evicted; the sweep finds the
work all the same.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import redis
import structlog
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from models.core.settings import Settings, SettingsError

DRAIN = "drain"
# One for each worker that may be idle; more would only run empty drains.
MOST_QUEUED = 3
HINT_TTL_SECONDS = 60
JOB_TIMEOUT_SECONDS = 60
_QUICK_SECONDS = 1.0

logger = structlog.stdlib.get_logger(__name__)


class UnlistedJobError(Exception):
    """A job names something that we did not list; it is not run."""


class ListedJob(Job):
    """Runs only what its table lists: a JSON payload in Redis could name `os.system`.

    Callbacks and web hooks, which a payload can name as well, are not run at all.
    """

    table: ClassVar[Mapping[str, Callable[[], object]]] = {}

    @property
    def func(self) -> Callable[[], object]:
        """Return the listed function of this job's name; UnlistedJobError for any other."""
        listed = None if self.instance else self.table.get(str(self.func_name))
        if listed is None:
            raise UnlistedJobError(str(self.func_name)[:100])
        return listed

    success_callback = None
    failure_callback = None
    stopped_callback = None

    def send_webhooks(self, *_args: Any, **_kwargs: Any) -> None:
        """Call nobody."""


def listed_jobs(table: Mapping[str, Callable[[], object]]) -> type[ListedJob]:
    """Return a job class that runs what `table` lists, by these names and no others."""
    return type("LinksJob", (ListedJob,), {"table": table})


def quick_redis(settings: Settings) -> redis.Redis | None:
    """Return a client that answers or fails within a second; None where no Redis is set."""
    return _client(settings, timeout=_QUICK_SECONDS, retry=Retry(NoBackoff(), 0))


def patient_redis(settings: Settings) -> redis.Redis | None:
    """Return the RQ worker's client: it rides out a Redis that restarts."""
    errors = (RedisConnectionError, RedisTimeoutError)
    retry: Retry = Retry(ExponentialBackoff(cap=2, base=0.1), 20, supported_errors=errors)
    return _client(settings, timeout=None, retry=retry)


def _client(settings: Settings, timeout: float | None, retry: Retry) -> redis.Redis | None:
    if settings.redis_url is None:
        return None
    options: dict[str, Any] = {}
    if settings.redis_url.startswith("rediss://") and settings.redis_tls_verify == "none":
        # Heroku's certificate is self-signed: no verification could succeed.
        options["ssl_cert_reqs"] = "none"
        options["ssl_check_hostname"] = False
    try:
        client = redis.Redis.from_url(
            settings.redis_url,
            socket_timeout=timeout,
            socket_connect_timeout=_QUICK_SECONDS,
            health_check_interval=30,
            retry=retry,
            **options,
        )
        # Opens nothing, but looks at every option: else it is looked at when it is too late.
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    except (TypeError, ValueError, redis.RedisError):
        # No word of the library's: it shows the value.
        raise SettingsError("REDIS_URL: must be a URL that redis-py takes") from None
    return client


def queue_name(settings: Settings) -> str:
    """Return the name of this deployment's queue, by the database that web and workers share.

    Two deployments on one Redis must not take each other's bells: each has work in its own SQL.
    """
    url = settings.database_url
    # Not who asks, nor how: passwords are rotated, and drivers given options.
    place: list[object] = [url.host, url.port, url.database]
    if settings.on_sqlite:
        place = [str(Path(url.database or "").resolve())]
    place += [url.query.get(name) for name in ("host", "port", "dbname", "options")]
    return f"links:{hashlib.sha256(repr(place).encode()).hexdigest()[:12]}"


def links_queue(client: redis.Redis, name: str, job_class: type[ListedJob] = ListedJob) -> Queue:
    """Return the one queue; JSON, because unpickling what lies in Redis would run it."""
    # One queue: with two, RQ loses the job that a killed worker had just taken.
    return Queue(name, connection=client, job_class=job_class, serializer=JSONSerializer)


class Bell:
    """Rings for the workers of one queue; a few rings at most are queued."""

    def __init__(self, client: redis.Redis | None, name: str) -> None:
        self._queue = links_queue(client, name) if client is not None else None

    def ring(self) -> bool:
        """Queue one `drain` unless enough are queued; False when Redis is away or full."""
        if self._queue is None:
            return False
        try:
            # No fixed job id: a lost job of that id would block its own successor.
            if self._queue.count < MOST_QUEUED:
                self._queue.enqueue_call(
                    DRAIN,
                    timeout=JOB_TIMEOUT_SECONDS,
                    # A hint that nobody took is worth nothing, and no result is ever read.
                    ttl=HINT_TTL_SECONDS,
                    result_ttl=0,
                    failure_ttl=HINT_TTL_SECONDS,
                    description=DRAIN,
                )
        except redis.RedisError as error:
            logger.debug("the bell is not heard", error=type(error).__name__)
            return False
        return True
