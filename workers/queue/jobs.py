"""The RQ queue and its one job, which is a hint in Redis that there is work in SQL.

Nothing here is needed for correctness: a hint may be lost, doubled or evicted, since the poller
finds the work anyway.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import redis
import structlog
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from models.settings.environment import Settings

DRAIN = "drain"

logger = structlog.stdlib.get_logger(__name__)


class UnlistedJobError(Exception):
    """A job names a function that is not listed; it is not run."""


class ListedJob(Job):
    """Runs only listed functions, since a payload in Redis could name `os.system`.

    Callbacks and webhooks, which a payload can also name, are never run.
    """

    table: ClassVar[Mapping[str, Callable[[], object]]] = {}

    @property
    def func(self) -> Callable[[], object]:
        """Return the listed function of this name; UnlistedJobError for any other."""
        listed = None if self.instance else self.table.get(str(self.func_name))
        if listed is None:
            raise UnlistedJobError(str(self.func_name)[:100])
        return listed

    success_callback = None
    failure_callback = None
    stopped_callback = None

    def send_webhooks(self, *_args: Any, **_kwargs: Any) -> None:
        """Send nothing."""


def listed_jobs(table: Mapping[str, Callable[[], object]]) -> type[ListedJob]:
    """Return a job class that runs the functions of `table` by their names, and no others."""
    return type("LinksJob", (ListedJob,), {"table": table})


def queue_name(settings: Settings) -> str:
    """Return the name of this deployment's queue, derived from its database.

    Two deployments may share one Redis, and must not take each other's wake-ups.
    """
    url = settings.database_url
    # Without user and options, which may change and differ between processes.
    place: list[object] = [url.host, url.port, url.database]
    if settings.on_sqlite:
        place = [str(Path(url.database or "").resolve())]
    place += [url.query.get(name) for name in ("host", "port", "dbname", "options")]
    return f"links:{hashlib.sha256(repr(place).encode()).hexdigest()[:12]}"


def links_queue(client: redis.Redis, name: str, job_class: type[ListedJob] = ListedJob) -> Queue:
    """Return the queue; its jobs are JSON, because unpickling data from Redis could run code."""
    # Only one: with two queues RQ loses the job of a worker that was killed while taking it.
    return Queue(name, connection=client, job_class=job_class, serializer=JSONSerializer)
