"""What a command uses: settings, and connections that are opened on demand."""

import logging
import os
import pwd
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from models.core.engine import make_engine
from models.core.postgresql import Mode
from models.core.sanitize import storable
from models.settings.environment import Settings
from models.tables.schema_version import HEAD, version
from webhook.cli.environment import with_env_file
from webhook.services.reader import Reader

T = TypeVar("T")
# A dyno's user is a random name; Heroku's log says who started which dyno.
_NAMED_BY = ("DYNO", "SUDO_USER", "LOGNAME", "USER")


class Session:
    """One run of the command line; nothing is read or opened before a command needs it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._given = environ
        self._engines: dict[Mode, Engine] = {}
        self._on_close: list[Callable[[], None]] = []

    @cached_property
    def environ(self) -> Mapping[str, str]:
        """The environment, with .env where it is read."""
        return with_env_file(self._given)

    @cached_property
    def settings(self) -> Settings:
        """The settings, read on demand so that --help works when one is malformed."""
        settings = Settings.read(self.environ)
        # A command prints its result; the service's log lines would only be noise.
        logging.getLogger().setLevel(logging.ERROR)
        # What only reads logs nothing of ours, and starts a third faster without it.
        if "structlog" in sys.modules:
            _log_errors(settings)
        return settings

    def log_errors(self) -> None:
        """Log the errors of libraries too as the service does."""
        _log_errors(self.settings)

    def reads(self) -> Engine:
        """Return the read-only engine."""
        return self._engine("read")

    def reader(self) -> Reader:
        """Return a reader."""
        return Reader(self.reads())

    def writes(self, *, creates: bool = False) -> Engine:
        """Return the engine that writes; it creates an SQLite file only with `creates`."""
        return self._engine("write", creates=creates)

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
        for close in self._on_close:
            close()

    def call_on_close(self, close: Callable[[], None]) -> None:
        """Have something closed with the session."""
        self._on_close.append(close)

    def _engine(self, mode: Mode, *, creates: bool = False) -> Engine:
        if mode not in self._engines:
            self._engines[mode] = make_engine(self.settings, mode, creates=creates)
        return self._engines[mode]


def _log_errors(settings: Settings) -> None:
    quiet = settings.model_copy(update={"log_level": "ERROR"})
    import_module("models.core.logging").set_up_logging(quiet)


def _login_name(environ: Mapping[str, str]) -> str:
    if given := next((environ[name] for name in _NAMED_BY if environ.get(name)), None):
        return given
    # A container may run as a number that no user has.
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return "unknown"
