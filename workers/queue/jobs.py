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
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from models.settings.environment import Settings

DRAIN = "drain"

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
