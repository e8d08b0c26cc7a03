"""What the last reconcile found."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, or_, select

from models.core.humanize import plural
from models.tables.reconcile_run import ReconcileRun


@dataclass(frozen=True, slots=True)
class ReconcileSummary:
    """What the last finished reconcile found that no webhook had told."""

    finished_at: datetime
    since: datetime | None
    bots_seen: int
    bots_missed: int
    statuses_missed: int
    is_complete: bool


def last_reconcile(connection: Connection) -> ReconcileSummary | None:
    """Read what the last finished run found that can be believed; None when there was none."""
    columns = [getattr(ReconcileRun, name) for name in ReconcileSummary.__slots__]
    # A part of the list, or one too short, proves nothing by what it does not show.
    missed = or_(ReconcileRun.bots_missed > 0, ReconcileRun.statuses_missed > 0)
    tells = or_(ReconcileRun.is_complete, missed) & ReconcileRun.error.is_(None)
    finished = select(*columns).where(ReconcileRun.finished_at.is_not(None), tells)
    latest = finished.order_by(ReconcileRun.finished_at.desc(), ReconcileRun.id.desc()).limit(1)
    found = connection.execute(latest).one_or_none()
    return None if found is None else ReconcileSummary(*found)


def describe_reconcile(found: ReconcileSummary) -> str:
    """Return what a reconcile found, as one line for a person."""
    bots, seen = plural(found.bots_missed, "bot"), plural(found.bots_seen, "bot")
    missed = f"{bots} and {plural(found.statuses_missed, 'status', 'statuses')} missed"
    partly = "" if found.is_complete else " (incomplete)"
    return f"{found.finished_at:%Y-%m-%d %H:%M} UTC: {missed}, out of {seen}{partly}"
