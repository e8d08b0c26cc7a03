"""Access to Recall for the web process and others: few callers at once."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
from sqlalchemy import Engine

from models.settings.environment import Settings
from workers.calendar_tokens.crypto import Vault
from workers.calendar_tokens.session import CalendarUsers
from workers.rate_limits.buckets import Buckets
from workers.rate_limits.factory import make_limits
from workers.recall_api.calendar_client import PATIENCE_SECONDS, CalendarClient
from workers.recall_api.client import CALL_SECONDS, Recall
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.transport import MAX_BODY_BYTES, HttpClient, make_ssl_context

# How long to wait for a free place: the caller occupies a thread meanwhile.
PLACE_SECONDS = 0.25
RETRY_SECONDS = 1.0
# A person waits for it, and Heroku's router gives up after 30 s.
LIST_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class GatewaySession:
    """Access to Recall: its endpoints, and calendar users with their tokens."""

    client: CalendarClient
    users: CalendarUsers


class RecallGateway:
    """Lets at most `places` callers use Recall at once; SettingsError without an API key."""

    most_bytes = MAX_BODY_BYTES

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        redis_client: redis.Redis | None,
        *,
        places: int = 1,
        seconds: float = CALL_SECONDS,
    ) -> None:
        self._api_url, self._api_key = settings.api_url, settings.api_key
        self._engine = engine
        self._seconds = seconds
        self._patience = min(PATIENCE_SECONDS, seconds)
        self._buckets = Buckets(settings.recall_rate_share / 100)
        self._places = threading.BoundedSemaphore(places)
        self._context = make_ssl_context(os.environ.get("SSL_CERT_FILE"))
        self._limits = make_limits(settings, redis_client)
        self.vault = Vault(settings.api_key)

    @contextmanager
    def open(self) -> Iterator[GatewaySession]:
        """Begin a session; RecallError (held) while every place is taken."""
        if not self._places.acquire(timeout=PLACE_SECONDS):
            raise RecallError(Fault.HELD, Endpoint.USER, retry_after=RETRY_SECONDS)
        http = HttpClient(self._context, self.most_bytes)
        try:
            recall = Recall(http, self._api_url, self._api_key, seconds=self._seconds)
            client = CalendarClient(
                recall,
                self._limits,
                self._buckets,
                patience=self._patience,
                list_seconds=LIST_SECONDS,
            )
            yield GatewaySession(client, CalendarUsers(self._engine, self.vault, client))
        finally:
            http.close()
            self._places.release()
