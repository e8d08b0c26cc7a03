"""What a drain needs, created once in each process and kept between drains."""

from dataclasses import dataclass
from ssl import SSLContext

from sqlalchemy import Engine

from models.core.engine import make_engine
from models.settings.environment import Settings
from workers.calendar_tokens.crypto import Vault
from workers.queue.jobs import queue_name
from workers.queue.redis_clients import quick_redis
from workers.queue.wakeup import WakeUp
from workers.rate_limits.buckets import Buckets, Limits
from workers.rate_limits.factory import make_limits
from workers.recall_api.transport import HttpClient


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Connections, limits and keys of one process."""

    settings: Settings
    engine: Engine
    http: HttpClient
    ssl: SSLContext
    limits: Limits
    buckets: Buckets
    vault: Vault
    wakeup: WakeUp

    def close(self) -> None:
        """Close the connections to the database and to Recall."""
        self.engine.dispose()
        self.http.close()


def make_context(settings: Settings, ssl: SSLContext) -> WorkerContext:
    """Create the context; nothing is connected yet."""
    client = quick_redis(settings)
    return WorkerContext(
        settings=settings,
        engine=make_engine(settings, "write"),
        http=HttpClient(ssl),
        ssl=ssl,
        limits=make_limits(settings, client),
        buckets=Buckets(settings.recall_rate_share / 100),
        vault=Vault(settings.api_key),
        wakeup=WakeUp(client, queue_name(settings)),
    )
