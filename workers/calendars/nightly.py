"""The nightly look at every connected calendar: once for the whole fleet, and never in the way.

It runs in a thread of the poller, with a connection of its own to each side. Drains come first:
while bots are due it waits, and it takes a tenth of what Recall allows at most.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import reason
from models.core.engine import make_engine
from models.core.sanitize import storable
from models.tables.base import db_now
from models.tables.link import Link
from workers.calendar_tokens.session import CalendarUsers
from workers.calendars.check import LISTED, RECENT, Check, CheckResult
from workers.calendars.findings import end_findings, same_person
from workers.calendars.schedule import NightlyRun, claim_nightly_run, keep_nightly_run
from workers.linking.backlog import look
from workers.linking.context import WorkerContext
from workers.privacy.tombstones import UserErasedError, is_pseudonym
from workers.recall_api.calendar_client import CalendarClient
from workers.recall_api.calendar_schemas import CalendarUser
from workers.recall_api.circuit import read_workspace
from workers.recall_api.client import Recall
from workers.recall_api.errors import RecallError
from workers.recall_api.paging import is_too_short
from workers.recall_api.schemas import EXTERNAL_ID_LIMIT, is_usable_external_id
from workers.recall_api.transport import LIST_BYTES, HttpClient
from workers.shutdown import Stop

LOOK_SECONDS = 60.0
# Thirty users a minute, where three hundred tokens are allowed: what drains need is left.
PACE_SECONDS = 2.0
# Others wait three minutes for the list of a big calendar.
CALL_SECONDS = 180.0
PATIENCE_SECONDS = 60.0

logger = structlog.stdlib.get_logger(__name__)


class CalendarSweep:
    """Starts the night's sweep when it is due, where no other worker has."""

    def __init__(self, tools: WorkerContext, stop: Stop, pace: float = PACE_SECONDS) -> None:
        self._tools = tools
        self._stop = stop
        self._pace = pace
        self._look_at = 0.0
        self._thread: threading.Thread | None = None

    def start_when_due(self) -> bool:
        """Look once a minute; returns whether a sweep was started here."""
        is_at_work = self._thread is not None and self._thread.is_alive()
        if is_at_work or time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_SECONDS
        with self._tools.engine.begin() as connection:
            night = claim_nightly_run(connection)
        if night is None:
            return False
        # A daemon: the dyno's end waits for nobody's calendar.
        work = threading.Thread(target=self.run, args=(night,), name="calendars", daemon=True)
        self._thread = work
        work.start()
        return True

    def join(self, seconds: float) -> bool:
        """Wait for a sweep that was started here; whether it is over."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def run(self, night: NightlyRun) -> NightlyRun:
        """Look at every calendar that is left; cut off, it goes on when its lease is over."""
        latest = night
        try:
            with self._opened() as visit:
                for so_far in self._sweep(night, visit):
                    latest = so_far
        except (RecallError, SQLAlchemyError) as error:
            logger.warning("the calendars' sweep is cut off", reason=reason(error))
        return latest

    @contextmanager
    def _opened(self) -> Iterator["_Visit"]:
        settings, tools = self._tools.settings, self._tools
        # Not the drain's: its one connection must be free when bots are due.
        engine, wire = make_engine(settings, "write"), HttpClient(tools.context, LIST_BYTES)
        recall = Recall(wire, settings.api_url, settings.api_key, seconds=CALL_SECONDS)
        client = CalendarClient(recall, tools.limits, tools.buckets, patience=PATIENCE_SECONDS)
        try:
            users = CalendarUsers(engine, tools.vault, client)
            yield _Visit(engine, client, users, Check(engine, client))
        finally:
            wire.close()
            engine.dispose()

    def _sweep(self, night: NightlyRun, visit: "_Visit") -> Iterator[NightlyRun]:
        with visit.engine.begin() as connection:
            if read_workspace(connection).open_for:
                return
        everybody = visit.client.users()
        # As links are written, so that an id that was cut there is found again here.
        listed = {
            storable(user.external_id, EXTERNAL_ID_LIMIT): user
            for user in everybody
            if user.external_id
        }
        doubles = same_person(everybody)
        connected = {user.id for user in everybody if user.is_connected}
        with visit.engine.begin() as connection:
            recent = _recent(connection)
            if is_too_short(len(recent & listed.keys()), len(recent)):
                logger.warning("the list of users is too short to be believed", held=len(recent))
                yield keep_nightly_run(connection, night, is_over=True)
                return
            # Nobody looks at a calendar that is not there: what was found in it ends here.
            end_findings(connection, connected)
        names = _to_look_at(recent, listed, night.position)
        for name in names:
            if not self._may_go_on(visit.engine, night):
                return
            night = _after(night, name, visit.look(name, listed.get(name), doubles))
            with visit.engine.begin() as connection:
                night = keep_nightly_run(connection, night)
            yield night
        with visit.engine.begin() as connection:
            yield keep_nightly_run(connection, night, is_over=True)
        logger.info("calendars looked at", users=night.users, changed=night.changed)

    def _may_go_on(self, engine: Engine, night: NightlyRun) -> bool:
        while not self._stop.is_requested:
            time.sleep(self._pace)
            with engine.begin() as connection:
                if not look(connection).is_work:
                    return True
                # Waiting for drains is work too, as far as other dynos are concerned.
                keep_nightly_run(connection, night)
        return False


@dataclass(frozen=True, slots=True)
class _Visit:
    engine: Engine
    client: CalendarClient
    users: CalendarUsers
    check: Check

    def look(
        self, name: str, user: CalendarUser | None, doubles: Mapping[str, tuple[str, ...]]
    ) -> CheckResult | None:
        """Check one user; None where Recall would not have it."""
        # No token for who is not listed: it would make them again.
        if user is None:
            return self.check.gone(name)
        external_id = str(user.external_id)
        if not is_usable_external_id(external_id):
            return CheckResult()
        after = datetime.now(UTC) - LISTED
        try:
            found = self.users.act(external_id, lambda token: self.client.meetings(token, after))
        except (RecallError, UserErasedError) as error:
            # One calendar that cannot be read is no reason to skip all the others.
            logger.info("a calendar was not looked at", error=type(error).__name__)
            return None
        return self.check.user(user, found, doubles.get(user.id, ()))


def _after(night: NightlyRun, name: str, result: CheckResult | None) -> NightlyRun:
    changed = night.changed + (result.changed if result else 0)
    failed = night.failed + (result is None)
    return replace(night, position=name, users=night.users + 1, changed=changed, failed=failed)


def _recent(connection: Connection) -> set[str]:
    # By when they were linked, which has an index: a link comes when its meeting does.
    since = db_now(-RECENT.total_seconds())
    recent = select(Link.external_id).distinct().where(Link.linked_at >= since)
    return {name for name in connection.scalars(recent) if name and not is_pseudonym(name)}


def _to_look_at(
    recent: set[str], listed: Mapping[str, CalendarUser], position: str | None
) -> list[str]:
    names = recent | {name for name, user in listed.items() if user.is_connected}
    return sorted(name for name in names if position is None or name > position)
