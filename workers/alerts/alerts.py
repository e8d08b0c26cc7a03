"""Checks the alarms once a minute and reports them from a thread, so that no call delays a link."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import is_unavailable, reason
from workers.alerts.episodes import active_names, news
from workers.alerts.message import heartbeat_url, message
from workers.alerts.turns import EVERY_SECONDS, Problems, Turn, begin_turn, end_turn
from workers.linking.context import WorkerContext
from workers.recall_api.other_hosts import SECONDS, deliver

# A worker has 12 seconds to end; a call under way gets some of them.
STOP_SECONDS = 3.0
_UNKNOWN = "could not be called"

T = TypeVar("T")

logger = structlog.stdlib.get_logger(__name__)


class Alerts:
    """Checks and reports the alarms when it is this worker's turn.

    All SQL is done by the caller's thread, on its connection; `wake` is called when there is
    something to write.
    """

    def __init__(
        self,
        context: WorkerContext,
        wake: Callable[[], None] = lambda: None,
        seconds: float = SECONDS,
    ) -> None:
        self._context = context
        self._wake = wake
        self._seconds = seconds
        self._next_at = 0.0
        self._calls: _Calls | None = None
        self._logged = Problems()

    @property
    def is_idle(self) -> bool:
        """Whether no turn of this worker's is under way."""
        return self._calls is None

    def run_when_due(self) -> None:
        """Begin a turn if one is due; end the one whose calls are over."""
        if self._calls is not None:
            if not self._calls.are_over:
                return
            self._end(self._calls)
        if time.monotonic() >= self._next_at:
            self._begin()

    def finish(self, seconds: float = STOP_SECONDS) -> None:
        """Give calls under way a little time, and write what came of them."""
        if self._calls is None:
            return
        self._calls.join(seconds)
        if self._calls.are_over:
            try:
                self._end(self._calls)
            except SQLAlchemyError as error:
                logger.warning("alerts not written", reason=reason(error))

    def _begin(self) -> None:
        # First: an error must not make each sweep try again.
        self._next_at = time.monotonic() + EVERY_SECONDS
        reports = self._context.settings.alert_webhook_url is not None
        turn = self._write(lambda connection: begin_turn(connection, reports=reports))
        if isinstance(turn, float):
            self._next_at = time.monotonic() + min(turn, EVERY_SECONDS)
        elif turn is not None:
            self._calls = _Calls(self._context, turn, self._seconds)
            self._calls.start(self._wake)

    def _end(self, calls: "_Calls") -> None:
        is_ours = self._write(lambda connection: end_turn(connection, calls.turn, calls.problems))
        self._calls = None
        if is_ours is False:
            logger.warning("lease on alerts lost, result discarded")
        self._log(calls.problems)

    def _write(self, work: Callable[[Connection], T]) -> T | None:
        try:
            with self._context.engine.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            if is_unavailable(error):
                raise
            # The sweep goes on: links do not depend on alarms.
            logger.warning("alarms cannot be checked", reason=reason(error))
            return None

    def _log(self, problems: Problems) -> None:
        # Once a minute the same line would drown the others.
        for setting, now, before in (
            ("ALERT_WEBHOOK_URL", problems.webhook, self._logged.webhook),
            ("HEARTBEAT_URL", problems.heartbeat, self._logged.heartbeat),
        ):
            if now is not None and now != before:
                logger.warning("alert not delivered, trying again", setting=setting, reason=now)
            elif before is not None and now is None:
                logger.info("alerts are delivered again", setting=setting)
        self._logged = problems


class _Calls:
    """The calls of one turn, in a thread."""

    def __init__(self, context: WorkerContext, turn: Turn, seconds: float) -> None:
        self.turn = turn
        self._http, self._settings = context.http, context.settings
        self._seconds = seconds
        self._made: Problems | None = None
        self._thread = threading.Thread(name="alerts", daemon=True)

    @property
    def are_over(self) -> bool:
        """Whether it is known what came of them."""
        return self._made is not None or not self._thread.is_alive()

    @property
    def problems(self) -> Problems:
        """What went wrong, once they are over."""
        if self._made is not None:
            return self._made
        # The thread died of a bug: reported twice is better than not at all.
        return Problems(
            _UNKNOWN if self._settings.alert_webhook_url else None,
            _UNKNOWN if self._settings.heartbeat_url else None,
        )

    def start(self, wake: Callable[[], None]) -> None:
        """Make them in the background; `wake` is called when they are over."""
        # A daemon: the process must be able to end during a call.
        self._thread = threading.Thread(target=self._make, args=(wake,), name="alerts", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait until they are over, for so long."""
        self._thread.join(seconds)

    def _make(self, wake: Callable[[], None]) -> None:
        try:
            # The message first: the lease must outlast it.
            webhook = self._report()
            self._made = Problems(webhook, self._beat())
        finally:
            wake()

    def _report(self) -> str | None:
        url, reported = self._settings.alert_webhook_url, news(self.turn.episodes, self.turn.at)
        if url is None or not reported:
            return None
        body = message(reported, self._settings.public_url)
        return deliver(self._http, "POST", url.get_secret_value(), body, seconds=self._seconds)

    def _beat(self) -> str | None:
        url, active = self._settings.heartbeat_url, active_names(self.turn.episodes)
        if url is None:
            return None
        address = heartbeat_url(url.get_secret_value(), active)
        return deliver(self._http, "GET", address, seconds=self._seconds)
