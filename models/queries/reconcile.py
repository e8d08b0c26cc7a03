"""The result of the last reconcile."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, or_, select

from models.core.humanize import plural
from models.tables.reconcile_run import ReconcileRun


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
