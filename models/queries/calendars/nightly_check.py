"""When the nightly check last looked at calendars: without it an empty list says nothing."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from models.core.humanize import plural
from models.tables.workspace_state import CALENDAR_SWEEP, WorkspaceState

NOT_CHECKED = (
    "Not checked yet: calendars are checked each night at 03:00 UTC, or by"
    " `recall-links calendar check EXTERNAL_ID`."
)


@dataclass(frozen=True, slots=True)
class NightlyCheckSummary:
    """When the last check was at work, and how many calendar users it has looked at."""

    at: datetime
    users: int
    failed: int


def last_nightly_check(connection: Connection) -> NightlyCheckSummary | None:
    """Return the last check; None while it has looked at nobody."""
    columns = (WorkspaceState.value, WorkspaceState.updated_at)
    row = connection.execute(select(*columns).where(WorkspaceState.key == CALENDAR_SWEEP)).first()
    if row is None:
        return None
    # An older release may have stored less.
    users, failed = (row.value.get(name) for name in ("users", "failed"))
    if not users:
        return None
    return NightlyCheckSummary(row.updated_at, users, failed or 0)


def describe_nothing(what: str, check: NightlyCheckSummary | None) -> str:
    """Return why a list of what checks find is empty: nothing was found, or nobody looked."""
    if check is None:
        return NOT_CHECKED
    unread = f", {check.failed} could not be read" if check.failed else ""
    seen = f"{plural(check.users, 'calendar user')}{unread}"
    return f"{what} Last nightly check: {check.at:%Y-%m-%d %H:%M} UTC, {seen}."
