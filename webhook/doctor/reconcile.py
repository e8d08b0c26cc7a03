"""Checks when the last reconcile ran, and whether it came to an end that can be believed."""

from datetime import datetime, timedelta

from sqlalchemy import Connection

from models.core.humanize import duration, plural
from models.queries.reconcile import ReconcileRow, last_run
from models.settings.environment import Settings
from webhook.doctor.result import Diagnosis

NAME = "reconcile"
# A night, and some hours for a run that waits for drains.
LATE = timedelta(hours=36)
SEE = "`recall-links reconciles` lists the runs, each with what it found"


def examine_reconcile(connection: Connection, settings: Settings, now: datetime) -> Diagnosis:
    """Examine the last run, scheduled or manual."""
    at, run = settings.reconcile_at, last_run(connection)
    if run is None:
        begins = f"begins at {at:%H:%M} UTC" if at else "does not begin: RECONCILE_AT is off"
        return Diagnosis("ok", NAME, f"none yet; the nightly one {begins}")
    age = now - run.started_at
    words = f"the last began {duration(age.total_seconds())} ago, {_result(run)}"
    if at is not None and age > LATE:
        remedy = "check that a worker runs at night, and what its log says of the nightly reconcile"
        return Diagnosis("warning", NAME, words, remedy)
    if run.state in ("interrupted", "not_believed"):
        return Diagnosis("warning", NAME, words, SEE)
    return Diagnosis("ok", NAME, words)


def _result(run: ReconcileRow) -> str:
    why = f": {run.error}" if run.error else ""
    missed = f"{plural(run.bots_missed, 'bot')} and {run.statuses_missed} statuses missed"
    return f"{run.state.replace('_', ' ')}{why}, {missed}"
