"""Reconcile's runs as rows: begun, resumed after an interruption, saved after each page."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, insert, null, or_, select, update

from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.reconcile_run import ReconcileRun
from workers.recall_api.bot_list import at_page, page_of

# A run without a sign of life for so long was killed. A page takes a second, and the longest pause
# between two pages is a minute.
DEAD_SECONDS = 120.0
MOST_COUNTED = 100_000
COUNTS = ("pages", "bots_seen", "bots_missed", "statuses_missed", "bots_due", "unusable")


class RunUnderWayError(Exception):
    """Another process works on this run, or has taken it over."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a pass is: the page to read, the ids of the page before, the counts so far."""

    path: str
    start: str = ""
    ids: tuple[str, ...] = ()
    passes: int = 1
    # Distinct bots of this pass; the smallest and the latest count that Recall gave.
    seen: int = 0
    least: int | None = None
    count: int | None = None
    has_shrunk: bool = False

    def __post_init__(self) -> None:
        if not self.start:
            object.__setattr__(self, "start", self.path)

    @property
    def may_have_skipped(self) -> bool:
        """Whether a bot may have moved to a page that was already read."""
        return self.has_shrunk or (self.least is not None and self.seen < self.least)

    def after(self, ids: tuple[str, ...], fresh: int, count: int | None) -> "Position":
        """Return the position after a page, still without the path of the next."""
        if count is None:
            return replace(self, ids=ids, seen=self.seen + fresh)
        return replace(
            self,
            ids=ids,
            seen=self.seen + fresh,
            least=count if self.least is None else min(count, self.least),
            count=count,
            # Without an earlier count, compare with the bots seen so far.
            has_shrunk=self.has_shrunk or count < (self.seen if self.count is None else self.count),
        )


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The progress of a run, and what it has found."""

    run_id: int
    since: datetime | None
    started_at: datetime
    position: Position
    # As last written: the worker that takes the run over writes another.
    beat_at: datetime
    is_resumed: bool = False
    is_over: bool = False
    pages: int = 0
    bots_seen: int = 0
    bots_missed: int = 0
    statuses_missed: int = 0
    bots_due: int = 0
    unusable: int = 0
    is_complete: bool = False
    # Why it was interrupted; of a run that is over, why its result is not trusted.
    error: str | None = None


def begin(
    connection: Connection, since: datetime | None, position: Position, started_by: str
) -> RunProgress:
    """Begin a run."""
    times = {"started_at": db_now(), "beat_at": db_now()}
    row = {"since": since, "position": asdict(position), "started_by": started_by}
    made = insert(ReconcileRun).values(**row, **times)
    columns = (ReconcileRun.id, ReconcileRun.started_at, ReconcileRun.beat_at)
    found = connection.execute(made.returning(*columns)).one()
    return RunProgress(found.id, since, found.started_at, position, found.beat_at)


def resume_since(connection: Connection, since: datetime | None) -> RunProgress | None:
    """Resume the latest unfinished run of this `since`; RunUnderWayError if it is active."""
    same = ReconcileRun.since.is_(None) if since is None else ReconcileRun.since == since
    return _resume(connection, same)


def resume_run(connection: Connection, run_id: int) -> RunProgress | None:
    """Resume this run; None if it is over, RunUnderWayError if it is active."""
    return _resume(connection, ReconcileRun.id == run_id)


def _resume(connection: Connection, wanted: ColumnElement[bool]) -> RunProgress | None:
    latest = select(ReconcileRun.__table__).where(wanted, ReconcileRun.finished_at.is_(None))
    row = connection.execute(latest.order_by(ReconcileRun.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    is_free = or_(ReconcileRun.error.is_not(None), ReconcileRun.beat_at < db_now(-DEAD_SECONDS))
    mine = update(ReconcileRun).where(ReconcileRun.id == row.id, is_free)
    taken = mine.values(error=null(), beat_at=db_now()).returning(ReconcileRun.beat_at)
    beat_at = connection.execute(taken).scalar_one_or_none()
    if beat_at is None:
        raise RunUnderWayError
    kept = Position(**{**row.position, "ids": tuple(row.position["ids"])})
    # One page back: deletions since then have moved later bots onto it.
    path = at_page(kept.path, page - 1) if (page := page_of(kept.path)) > 1 else kept.path
    counts = {name: getattr(row, name) for name in COUNTS}
    position = replace(kept, path=path)
    return RunProgress(
        row.id, row.since, row.started_at, position, beat_at, is_resumed=True, **counts
    )


def unfinished(connection: Connection) -> datetime | None:
    """Return the `since` of the latest unfinished run; LookupError when there is none."""
    latest = select(ReconcileRun.since).where(ReconcileRun.finished_at.is_(None))
    rows = connection.execute(latest.order_by(ReconcileRun.id.desc()).limit(1)).all()
    if not rows:
        raise LookupError("no run was interrupted")
    since: datetime | None = rows[0].since
    return since


def count_held(connection: Connection, progress: RunProgress) -> int:
    """Count the stored bots that the list of this run's window should have, at most 100,000."""
    some = select(Bot.id).where(Bot.first_seen_at < progress.started_at)
    if progress.since is not None:
        # Ad hoc bots have no time to join, so no window contains them.
        some = some.where(Bot.first_seen_at >= progress.since, Bot.link_state != "no_meetings")
    held = some.limit(MOST_COUNTED + 2 * progress.bots_seen).subquery()
    return connection.scalar(select(func.count()).select_from(held)) or 0


def save_progress(connection: Connection, progress: RunProgress) -> RunProgress:
    """Save the progress of a run; RunUnderWayError if another process has taken it over."""
    values = {name: getattr(progress, name) for name in COUNTS}
    values |= {"is_complete": progress.is_complete, "error": progress.error}
    values |= {"position": asdict(progress.position), "beat_at": db_now()}
    if progress.is_over:
        values["finished_at"] = db_now()
    mine = (ReconcileRun.id == progress.run_id) & (ReconcileRun.beat_at == progress.beat_at)
    saved = update(ReconcileRun).where(mine).values(values).returning(ReconcileRun.beat_at)
    beat_at = connection.execute(saved).scalar_one_or_none()
    if beat_at is None:
        raise RunUnderWayError
    return replace(progress, beat_at=beat_at)
