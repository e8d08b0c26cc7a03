"""Reconcile: compares List Bots, for a window of time, with what webhooks reported.

https://docs.recall.ai/reference/bot_list promises no order, so pages may shift while we read them:
repeats are harmless, and a pass that may have skipped a bot is repeated.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from models.tables.base import db_now
from workers.db.counters import add_hourly_counts
from workers.db.transactions import in_transaction
from workers.linking.apply_deliveries import apply_all
from workers.linking.relink import STAGGER_SECONDS
from workers.recall_api.bot_list import BotListClient, BotPage, first_path, page_of
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.paging import Trail, is_too_short
from workers.recall_api.retry_policy import Then, decide
from workers.reconcile.merge import merge
from workers.reconcile.runs import (
    Position,
    RunProgress,
    RunUnderWayError,
    begin,
    count_held,
    resume_since,
    save_progress,
)

# A bot that joined the day before may have ended within the window.
MARGIN = timedelta(days=1)
MOST_PASSES = 3
# A page that fails so often in a row ends the run, which can be resumed there.
MOST_TRIES = 6
LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class Reconciler:
    """Starts or resumes one run; `wake` is called after a page that made bots due.

    Before each page `may_go_on` is asked, and a run that may not is interrupted.
    """

    engine: Engine
    client: BotListClient
    started_by: str
    wake: Callable[[], object] = lambda: None
    pause: Callable[[float], None] = time.sleep
    may_go_on: Callable[[], bool] = lambda: True
    _seen: set[str] = field(default_factory=set)
    _trail: Trail = field(default_factory=lambda: Trail(Endpoint.BOTS))

    def open(self, since: datetime | None, *, afresh: bool = False) -> RunProgress:
        """Resume the unfinished run of this `since`, or begin one; RunUnderWayError."""
        with self.engine.begin() as connection:
            resumed = None if afresh else resume_since(connection, since)
            return resumed or self.begin(connection, since)

    def begin(self, connection: Connection, since: datetime | None) -> RunProgress:
        """Begin a run of the bots that joined since then, or of all."""
        now = connection.execute(select(db_now())).scalar_one()
        # A window in the past, since newly scheduled bots would shift its pages.
        before = None if since is None else now
        after = None if since is None else since - MARGIN
        position = Position(first_path(after, before))
        return begin(connection, since, position, self.started_by)

    def run(
        self, progress: RunProgress, on_page: Callable[[RunProgress], None] = lambda _: None
    ) -> RunProgress:
        """Read the list to its end; RunUnderWayError when another process has taken the run.

        A page that cannot be fetched interrupts it.
        """
        self._seen = set(progress.position.ids)
        while not progress.is_over:
            if not self.may_go_on():
                return self.interrupt(progress, "stopped")
            try:
                progress = self._process(progress, self._page(progress.position.path))
            except RecallError as error:
                return self.interrupt(progress, str(error))
            except (SQLAlchemyError, RunUnderWayError):
                raise
            except Exception as error:
                # The next call must not wait for a run that nobody works on.
                self.interrupt(progress, type(error).__name__)
                raise
            on_page(progress)
        return progress

    def interrupt(self, progress: RunProgress, why: str) -> RunProgress:
        """Mark the run as interrupted, so that it can be resumed at once."""
        stopped = replace(progress, error=why)
        return in_transaction(self.engine, lambda connection: save_progress(connection, stopped))

    def _page(self, path: str) -> BotPage:
        self._trail.enter(path)
        attempt = 1
        while True:
            try:
                return self._ask(path)
            except RecallError as error:
                decision = decide(error, attempt)
                if decision.then not in (Then.RETRY, Then.CLOSE_BUCKET) or attempt >= MOST_TRIES:
                    raise
                longest = min(decision.longest, LONGEST_PAUSE)
                self.pause(random.uniform(min(decision.shortest, longest), longest))  # noqa: S311
                attempt += 1

    def _ask(self, path: str) -> BotPage:
        try:
            return self.client.page(path)
        except RecallError as error:
            # The list has become shorter, and this page does not exist any more.
            if error.fault is Fault.NOT_FOUND and page_of(path) > 1:
                return BotPage((), 0, 0, None)
            raise

    def _process(self, before: RunProgress, page: BotPage) -> RunProgress:
        # Apply first: deliveries that were received are not missed.
        apply_all(self.engine)
        ids = [bot.id for bot in page.bots]
        fresh = len(set(ids) - self._seen)
        self._seen.update(ids)
        self._trail.leave(fresh)
        read = replace(
            before,
            pages=before.pages + 1,
            unusable=before.unusable + page.unusable,
            position=before.position.after(tuple(ids), fresh, page.count),
        )
        moved = self._advance(read, page.next_path)
        done = in_transaction(self.engine, lambda connection: _write(connection, moved, page))
        if done.bots_due > before.bots_due:
            self.wake()
        return done

    def _advance(self, progress: RunProgress, next_path: str | None) -> RunProgress:
        position = progress.position
        if next_path is not None:
            return replace(progress, position=replace(position, path=next_path))
        seen = max(progress.bots_seen, position.seen)
        if position.may_have_skipped and position.passes < MOST_PASSES:
            # A second pass finds what moved to a page that was already read.
            self._seen.clear()
            self._trail = Trail(Endpoint.BOTS)
            again = Position(position.start, start=position.start, passes=position.passes + 1)
            return replace(progress, position=again, bots_seen=seen)
        is_complete = not position.may_have_skipped
        return replace(progress, bots_seen=seen, is_over=True, is_complete=is_complete)


def _distrust_short_list(connection: Connection, done: RunProgress) -> RunProgress:
    held = count_held(connection, done)
    if not is_too_short(done.bots_seen, held):
        return done
    listed = f"Recall lists {done.bots_seen} bots where {held} are held"
    error = f"list_too_short: {listed}, which is too short to be believed"
    return replace(done, is_complete=False, error=error)


def _write(connection: Connection, progress: RunProgress, page: BotPage) -> RunProgress:
    now = connection.execute(select(db_now())).scalar_one()
    # Staggered, as in relink: thousands of due bots must not delay those of live meetings.
    waited = (now - progress.started_at).total_seconds()
    first_in = max(0.0, progress.bots_due * STAGGER_SECONDS - waited)
    merged = merge(connection, page.bots, now, first_in, STAGGER_SECONDS)
    done = replace(
        progress,
        bots_missed=progress.bots_missed + merged.bots_missed,
        statuses_missed=progress.statuses_missed + merged.statuses_missed,
        bots_due=progress.bots_due + merged.bots_due,
    )
    if done.is_over:
        done = _distrust_short_list(connection, done)
    done = save_progress(connection, done)
    counts = {"bot": merged.bots_missed, "status": merged.statuses_missed}
    add_hourly_counts(connection, {("missed", what): n for what, n in counts.items() if n})
    return done
