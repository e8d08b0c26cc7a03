"""Runs of reconcile: the list, and the result of the last one."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import Field
from sqlalchemy import Connection, or_, select

from models.core.humanize import plural
from models.queries.filters import Filter, Time
from models.queries.pagination import Listing, Query
from models.queries.views import RECONCILE_LOG
from models.tables.reconcile_run import ReconcileRun, RunState

_RUN = RECONCILE_LOG.c


@dataclass(frozen=True, slots=True)
class ReconcileRow:
    """One row of the view reconcile_log."""

    run_id: int
    since: datetime | None
    started_at: datetime
    finished_at: datetime | None
    is_complete: bool
    error: str | None
    pages: int
    bots_seen: int
    bots_missed: int
    statuses_missed: int
    bots_due: int
    unusable: int
    started_by: str | None
    state: str


class ReconcileFilter(Filter):
    """Which runs of reconcile: by how they stand, or when they began."""

    state: RunState | None = Field(None, description="how the run stands")
    since: Time | None = Field(None, description="started_at at or after")
    until: Time | None = Field(None, description="started_at before")


def reconciles(wanted: ReconcileFilter) -> Listing[ReconcileRow]:
    """List the runs, the latest first."""
    query: Query = select(RECONCILE_LOG)
    if wanted.state is not None:
        query = query.where(_RUN.state == wanted.state)
    if wanted.since is not None:
        query = query.where(_RUN.started_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(_RUN.started_at < wanted.until)
    return Listing(query, (_RUN.started_at, _RUN.run_id), ReconcileRow)


def last_run(connection: Connection) -> ReconcileRow | None:
    """Return the run that began last, however it stands; None before the first."""
    latest = select(RECONCILE_LOG).order_by(_RUN.started_at.desc(), _RUN.run_id.desc()).limit(1)
    found = connection.execute(latest).one_or_none()
    return None if found is None else ReconcileRow(*found)


@dataclass(frozen=True, slots=True)
class ReconcileSummary:
    """What the last finished reconcile found that no webhook had reported."""

    finished_at: datetime
    since: datetime | None
    bots_seen: int
    bots_missed: int
    statuses_missed: int
    is_complete: bool


def last_reconcile(connection: Connection) -> ReconcileSummary | None:
    """Return the last finished run with a meaningful result; None if there is none."""
    columns = [getattr(ReconcileRun, name) for name in ReconcileSummary.__slots__]
    # An incomplete run that missed nothing proves nothing.
    missed = or_(ReconcileRun.bots_missed > 0, ReconcileRun.statuses_missed > 0)
    is_meaningful = or_(ReconcileRun.is_complete, missed) & ReconcileRun.error.is_(None)
    finished = select(*columns).where(ReconcileRun.finished_at.is_not(None), is_meaningful)
    latest = finished.order_by(ReconcileRun.finished_at.desc(), ReconcileRun.id.desc()).limit(1)
    found = connection.execute(latest).one_or_none()
    return None if found is None else ReconcileSummary(*found)


def describe_reconcile(found: ReconcileSummary) -> str:
    """Return the result of a reconcile as one line of text."""
    bots, seen = plural(found.bots_missed, "bot"), plural(found.bots_seen, "bot")
    missed = f"{bots} and {plural(found.statuses_missed, 'status', 'statuses')} missed"
    partly = "" if found.is_complete else " (incomplete)"
    return f"{found.finished_at:%Y-%m-%d %H:%M} UTC: {missed}, out of {seen}{partly}"
