"""The nightly check of every connected calendar, by one worker for all.

It runs in a thread of the poller, with its own connections to the database and to Recall. Drains
come first: while bots are due it waits, and it uses at most a tenth of Recall's rate limits.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import reason
from models.core.engine import make_engine
from workers.calendar_tokens.session import CalendarUsers
from workers.calendars.check import LISTED, Check, CheckResult
from workers.calendars.findings import same_person
from workers.calendars.schedule import NightlyRun, claim_nightly_run, keep_nightly_run
from workers.calendars.user_list import (
    end_absent,
    is_believable,
    keep_users,
    names_on,
    recent_names,
    time_of_list,
)
from workers.db.nightly import NightlyThread
from workers.db.transactions import in_transaction
from workers.linking.backlog import look
from workers.linking.context import WorkerContext
from workers.privacy.tombstones import UserErasedError
from workers.recall_api.calendar_client import CalendarClient
from workers.recall_api.calendar_schemas import CalendarUser
from workers.recall_api.circuit import read_workspace
from workers.recall_api.client import Recall
from workers.recall_api.errors import RecallError
from workers.recall_api.schemas import is_usable_external_id
from workers.recall_api.transport import LIST_BYTES, HttpClient
from workers.shutdown import Stop

# Thirty users a minute, of the three hundred tokens that Recall allows.
PACE_SECONDS = 2.0
# The list of a big calendar may take three minutes.
CALL_SECONDS = 180.0
PATIENCE_SECONDS = 60.0

logger = structlog.stdlib.get_logger(__name__)


class NightlyCheck:
    """Starts the nightly check when it is due and no other worker has it."""

    def __init__(self, context: WorkerContext, stop: Stop, pace: float = PACE_SECONDS) -> None:
        self._context = context
        self._stop = stop
        self._pace = pace
        self._thread = NightlyThread("calendars", context.engine, claim_nightly_run, self.run)

    def start_when_due(self) -> bool:
        """Start the check if it is due, looking once a minute; returns whether it was started."""
        return self._thread.start_when_due()

    def join(self, seconds: float) -> bool:
        """Wait for a check that was started here; returns whether it is over."""
        return self._thread.join(seconds)

    def run(self, run: NightlyRun) -> NightlyRun:
        """Check every calendar that is left; after an interruption, any worker resumes it."""
        latest = run
        try:
            with self._session() as session:
                for progress in self._check_all(run, session):
                    latest = progress
        except (RecallError, SQLAlchemyError) as error:
            logger.warning("nightly calendar check interrupted", reason=reason(error))
        return latest

    @contextmanager
    def _session(self) -> Iterator["_Session"]:
        settings, context = self._context.settings, self._context
        # Its own connections: the drain's must be free when bots are due.
        engine, http = make_engine(settings, "write"), HttpClient(context.ssl, LIST_BYTES)
        recall = Recall(http, settings.api_url, settings.api_key, seconds=CALL_SECONDS)
        client = CalendarClient(recall, context.limits, context.buckets, patience=PATIENCE_SECONDS)
        try:
            users = CalendarUsers(engine, context.vault, client)
            yield _Session(engine, client, users, Check(engine, client))
        finally:
            http.close()
            engine.dispose()

    def _check_all(self, run: NightlyRun, session: "_Session") -> Iterator[NightlyRun]:
        with session.engine.begin() as connection:
            if read_workspace(connection).open_for:
                return
        at = time_of_list(session.engine)
        everybody = session.client.users()
        with session.engine.begin() as connection:
            if not is_believable(connection, everybody):
                logger.warning("list of calendar users is too short, check skipped")
                yield keep_nightly_run(connection, run, is_over=True)
                return
            recent = recent_names(connection)
        # Calendars that are no longer connected are not checked, so their findings end here.
        in_transaction(session.engine, lambda connection: end_absent(connection, everybody, at))
        keep_users(session.engine, everybody, at)
        listed, duplicates = names_on(everybody), same_person(everybody)
        names = _to_check(recent, listed, run.position)
        for name in names:
            if not self._may_go_on(session.engine, run):
                return
            run = _after(run, name, session.check_user(name, listed.get(name), duplicates))
            with session.engine.begin() as connection:
                run = keep_nightly_run(connection, run)
            yield run
        with session.engine.begin() as connection:
            yield keep_nightly_run(connection, run, is_over=True)
        logger.info("nightly calendar check done", users=run.users, changed=run.changed)

    def _may_go_on(self, engine: Engine, run: NightlyRun) -> bool:
        while not self._stop.is_requested:
            time.sleep(self._pace)
            with engine.begin() as connection:
                if not look(connection).is_work:
                    return True
                # Renews the lease while waiting for drains.
                keep_nightly_run(connection, run)
        return False


@dataclass(frozen=True, slots=True)
class _Session:
    engine: Engine
    client: CalendarClient
    users: CalendarUsers
    check: Check

    def check_user(
        self, name: str, user: CalendarUser | None, duplicates: Mapping[str, tuple[str, ...]]
    ) -> CheckResult | None:
        """Check one user; None when their calendar could not be read."""
        # No token for a user who is not listed: it would create them again.
        if user is None:
            return self.check.gone(name)
        external_id = str(user.external_id)
        if not is_usable_external_id(external_id):
            return CheckResult()
        after = datetime.now(UTC) - LISTED
        try:
            found = self.users.act(external_id, lambda token: self.client.meetings(token, after))
        except (RecallError, UserErasedError) as error:
            # One calendar that cannot be read must not stop the check of the others.
            logger.info("calendar could not be checked", error=type(error).__name__)
            return None
        return self.check.user(user, found, duplicates.get(user.id, ()))


def _after(run: NightlyRun, name: str, result: CheckResult | None) -> NightlyRun:
    changed = run.changed + (result.changed if result else 0)
    failed = run.failed + (result is None)
    return replace(run, position=name, users=run.users + 1, changed=changed, failed=failed)


def _to_check(
    recent: set[str], listed: Mapping[str, CalendarUser], position: str | None
) -> list[str]:
    names = recent | {name for name, user in listed.items() if user.is_connected}
    return sorted(name for name in names if position is None or name > position)
