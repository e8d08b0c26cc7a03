"""What a command uses: settings, and connections that are opened on demand."""

import os
import pwd
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TypeVar

import redis
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from models.core.engine import make_engine
from models.core.logging import set_up_logging
from models.core.postgresql import Mode
from models.core.sanitize import storable
from models.settings.environment import Settings
from models.tables.schema_version import HEAD, version
from webhook.cli.environment import with_env_file
from webhook.receiver.storage import Inbox
from webhook.services.events import EventActions
from webhook.services.reader import Reader
from webhook.services.relink import RelinkService
from workers.calendar_tokens.gateway import RecallGateway
from workers.queue.jobs import queue_name
from workers.queue.redis_clients import quick_redis
from workers.queue.wakeup import WakeUp
from workers.rate_limits.buckets import Buckets
from workers.rate_limits.factory import make_limits
from workers.recall_api.calendar_client import CalendarClient
from workers.recall_api.client import Recall
from workers.recall_api.transport import LIST_BYTES, HttpClient, make_ssl_context

T = TypeVar("T")
# A dyno's user is a random name; Heroku's log says who started which dyno.
_NAMED_BY = ("DYNO", "SUDO_USER", "LOGNAME", "USER")


class Session:
    """One run of the command line; nothing is read or opened before a command needs it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._given = environ
        self._engines: dict[Mode, Engine] = {}
        self._http_clients: list[HttpClient] = []

    @cached_property
    def _environ(self) -> Mapping[str, str]:
        return with_env_file(self._given)

    @cached_property
    def settings(self) -> Settings:
        """The settings, read on demand so that --help works when one is malformed."""
        settings = Settings.read(self._environ)
        # A command prints its result; the service's log lines would only be noise.
        set_up_logging(settings.model_copy(update={"log_level": "ERROR"}))
        return settings

    def reads(self) -> Engine:
        """Return the read-only engine."""
        return self._engine("read")

    def reader(self) -> Reader:
        """Return a reader."""
        return Reader(self.reads())

    def writes(self, *, creates: bool = False) -> Engine:
        """Return the engine that writes; it creates an SQLite file only with `creates`."""
        return self._engine("write", creates=creates)

    def inbox(self) -> Inbox:
        """Return the store of deliveries."""
        return Inbox(self.settings)

    def redis(self) -> redis.Redis | None:
        """Return a client that answers or fails within a second; None without REDIS_URL."""
        return quick_redis(self.settings)

    def wakeup(self) -> WakeUp:
        """Return what wakes the workers."""
        return WakeUp(self.redis(), queue_name(self.settings))

    def relink_service(self) -> RelinkService:
        """Return the relink service."""
        return RelinkService(self.reader(), self.writes(), self.wakeup())

    def event_actions(self) -> EventActions:
        """Return what sends events again."""
        return EventActions(self.settings, self.reader(), self.writes())

    def calendar(self, *, patience: float, seconds: float) -> CalendarClient:
        """Return a Recall client; it waits `patience` s for its turn and `seconds` for a call."""
        http = HttpClient(make_ssl_context(self._environ.get("SSL_CERT_FILE")), LIST_BYTES)
        self._http_clients.append(http)
        settings = self.settings
        recall = Recall(http, settings.api_url, settings.api_key, seconds=seconds)
        limits = make_limits(settings, self.redis())
        return CalendarClient(recall, limits, self.buckets(), patience=patience)

    def buckets(self) -> Buckets:
        """Return Recall's rate limits, scaled to this deployment's share."""
        return Buckets(self.settings.recall_rate_share / 100)

    def recall_gateway(self) -> RecallGateway:
        """Return the gateway to Recall's calendars; SettingsError without RECALL_API_KEY."""
        return RecallGateway(self.settings, self.writes(), self.redis())

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run one read."""
        return self.reader().read(work)

    def gap(self) -> str | None:
        """Return what to run if the database belongs to another release; None if it does not."""
        with suppress(SQLAlchemyError):
            found = self.read(version)
            if found is not None and found > HEAD:
                return "this program is older than the database: run the newer release"
            if found != HEAD:
                return "the database schema is out of date: run `recall-links db upgrade`"
        return None

    def actor(self) -> str:
        """Return the actor's name in the audit log."""
        return f"cli {storable(_login_name(self._given), 100)}"

    def close(self) -> None:
        """Close what was opened."""
        for engine in self._engines.values():
            engine.dispose()
        for http in self._http_clients:
            http.close()

    def _engine(self, mode: Mode, *, creates: bool = False) -> Engine:
        if mode not in self._engines:
            self._engines[mode] = make_engine(self.settings, mode, creates=creates)
        return self._engines[mode]


def _login_name(environ: Mapping[str, str]) -> str:
    if given := next((environ[name] for name in _NAMED_BY if environ.get(name)), None):
        return given
    # A container may run as a number that no user has.
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return "unknown"
