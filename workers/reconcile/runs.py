"""Reconcile's runs as rows: begun, taken up where they were cut off, and noted page by page."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, func, insert, null, or_, select, update

from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.reconcile_run import ReconcileRun
from workers.recall_api.bot_list import at_page, page_of

# A run that has not told of itself for so long was killed. A page takes a second, and the longest
# pause between two of them a minute.
DEAD_SECONDS = 120.0
MOST_COUNTED = 100_000
COUNTS = ("pages", "bots_seen", "bots_missed", "statuses_missed", "bots_due", "unusable")


class RunUnderWayError(Exception):
    """Another process is at this run."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a pass stands: the page to read, what the page before it held, what was counted."""

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
        """Whether a bot may have moved to a page that was read already."""
        return self.has_shrunk or (self.least is not None and self.seen < self.least)

    def after(self, ids: tuple[str, ...], fresh: int, count: int | None) -> "Position":
        """Return the position after a page, the next one's path left open."""
        if count is None:
            return replace(self, ids=ids, seen=self.seen + fresh)
        return replace(
            self,
            ids=ids,
            seen=self.seen + fresh,
            least=count if self.least is None else min(count, self.least),
            count=count,
            # A page that is gone says nothing of its count: then the bots seen so far are one.
            has_shrunk=self.has_shrunk or count < (self.seen if self.count is None else self.count),
        )


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is, and what it has found."""

    run_id: int
    since: datetime | None
    started_at: datetime
    position: Position
    is_resumed: bool = False
    is_over: bool = False
    pages: int = 0
    bots_seen: int = 0
    bots_missed: int = 0
    statuses_missed: int = 0
    bots_due: int = 0
    unusable: int = 0
    is_complete: bool = False
    # Why it was cut off; of a run that is over, why it is not believed.
    error: str | None = None


def begin(connection: Connection, since: datetime | None, position: Position) -> RunProgress:
    """Begin a run."""
    times = {"started_at": db_now(), "beat_at": db_now()}
    row = {"since": since, "position": asdict(position)}
    statement = insert(ReconcileRun).values(**row, **times)
    made = connection.execute(statement.returning(ReconcileRun.id, ReconcileRun.started_at)).one()
    return RunProgress(made.id, since, made.started_at, position)


def resume(connection: Connection, since: datetime | None) -> RunProgress | None:
    """Take up the latest unfinished run of this `since`; RunUnderWayError while another has it."""
    same = ReconcileRun.since.is_(None) if since is None else ReconcileRun.since == since
    latest = select(ReconcileRun.__table__).where(same, ReconcileRun.finished_at.is_(None))
    row = connection.execute(latest.order_by(ReconcileRun.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    is_free = or_(ReconcileRun.error.is_not(None), ReconcileRun.beat_at < db_now(-DEAD_SECONDS))
    mine = update(ReconcileRun).where(ReconcileRun.id == row.id, is_free)
    if not connection.execute(mine.values(error=null(), beat_at=db_now())).rowcount:
        raise RunUnderWayError
    kept = Position(**{**row.position, "ids": tuple(row.position["ids"])})
    # One page back: what was deleted meanwhile has moved the next bots onto it.
    path = at_page(kept.path, page - 1) if (page := page_of(kept.path)) > 1 else kept.path
    counts = {name: getattr(row, name) for name in COUNTS}
    position = replace(kept, path=path)
    return RunProgress(row.id, since, row.started_at, position, is_resumed=True, **counts)


def unfinished(connection: Connection) -> datetime | None:
    """Return the `since` of the latest unfinished run; LookupError when there is none."""
    latest = select(ReconcileRun.since).where(ReconcileRun.finished_at.is_(None))
    rows = connection.execute(latest.order_by(ReconcileRun.id.desc()).limit(1)).all()
    if not rows:
        raise LookupError("no run was cut off")
    since: datetime | None = rows[0].since
    return since


def count_held(connection: Connection, progress: RunProgress) -> int:
    """Count the bots that the whole list of this run's window should have, at most 100,000."""
    some = select(Bot.id).where(Bot.first_seen_at < progress.started_at)
    if progress.since is not None:
        # Ad hoc bots are in no window, since they have no time to join.
        some = some.where(Bot.first_seen_at >= progress.since, Bot.link_state != "no_meetings")
    held = some.limit(MOST_COUNTED + 2 * progress.bots_seen).subquery()
    return connection.scalar(select(func.count()).select_from(held)) or 0


def note(connection: Connection, progress: RunProgress) -> None:
    """Write how far a run is."""
    values = {name: getattr(progress, name) for name in COUNTS}
    values |= {"is_complete": progress.is_complete, "error": progress.error}
    values |= {"position": asdict(progress.position), "beat_at": db_now()}
    if progress.is_over:
        values["finished_at"] = db_now()
    run = update(ReconcileRun).where(ReconcileRun.id == progress.run_id)
    connection.execute(run.values(values))
