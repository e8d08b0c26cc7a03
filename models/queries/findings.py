"""What looking after the calendars found: runs of reconcile, and findings in users' calendars."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, or_, select

from models.tables.base import db_now
from models.tables.calendar import CalendarUser
from models.tables.calendar_finding import CalendarFinding

# An operator acts on a few; a workspace that has more has one cause, and not thousands.
MOST_FINDINGS = 500


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One finding, as it is listed."""

    kind: str
    calendar_user_id: str
    subject: str
    starts_at: datetime | None
    bot_ids: list[str]
    found_at: datetime


def calendar_findings(connection: Connection) -> list[FindingRow]:
    """Read what the last look at each user's calendar found, at most 500."""
    columns = [getattr(CalendarFinding, name) for name in FindingRow.__slots__]
    listed = select(*columns).order_by(CalendarFinding.kind, CalendarFinding.starts_at)
    return [FindingRow(*row) for row in connection.execute(listed.limit(MOST_FINDINGS))]


def users_of(connection: Connection, external_id: str) -> list[str]:
    """Return the ids of every calendar user that ever had this external_id."""
    named = select(CalendarUser.id).where(CalendarUser.external_id == external_id)
    return list(connection.scalars(named.order_by(CalendarUser.id)))


def findings_of(connection: Connection, user_ids: list[str]) -> list[FindingRow]:
    """Read what the last look at these users' calendars found."""
    columns = [getattr(CalendarFinding, name) for name in FindingRow.__slots__]
    theirs = select(*columns).where(CalendarFinding.calendar_user_id.in_(user_ids))
    return [FindingRow(*row) for row in connection.execute(theirs.limit(MOST_FINDINGS))]


def count_findings(connection: Connection) -> dict[str, int]:
    """Count, by kind, the findings about what has not begun; the counting ends at 500."""
    starts_at = CalendarFinding.starts_at
    is_coming = or_(starts_at.is_(None), starts_at > db_now())
    some = select(CalendarFinding.kind).where(is_coming).limit(MOST_FINDINGS).subquery()
    counted = select(some.c.kind, func.count().label("n")).group_by(some.c.kind)
    return {row.kind: row.n for row in connection.execute(counted)}
