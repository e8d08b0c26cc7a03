"""Findings of the calendar checks."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, or_, select

from models.tables.base import db_now
from models.tables.calendar import CalendarUser
from models.tables.calendar_finding import CalendarFinding

# More findings than this have a common cause, and a longer list would not help.
MOST_FINDINGS = 500


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One finding in a list."""

    kind: str
    calendar_user_id: str
    subject: str
    starts_at: datetime | None
    bot_ids: list[str]
    found_at: datetime


def calendar_findings(connection: Connection) -> list[FindingRow]:
    """Read the findings of the last check of each user's calendar, at most 500."""
    columns = [getattr(CalendarFinding, name) for name in FindingRow.__slots__]
    listed = select(*columns).order_by(CalendarFinding.kind, CalendarFinding.starts_at)
    return [FindingRow(*row) for row in connection.execute(listed.limit(MOST_FINDINGS))]


def users_of(connection: Connection, external_id: str) -> list[str]:
    """Return the ids of all calendar users that ever had this external_id."""
    named = select(CalendarUser.id).where(CalendarUser.external_id == external_id)
    return list(connection.scalars(named.order_by(CalendarUser.id)))


def findings_of(connection: Connection, user_ids: list[str]) -> list[FindingRow]:
    """Read the findings of the last check of these users' calendars, at most 500."""
    columns = [getattr(CalendarFinding, name) for name in FindingRow.__slots__]
    theirs = select(*columns).where(CalendarFinding.calendar_user_id.in_(user_ids))
    return [FindingRow(*row) for row in connection.execute(theirs.limit(MOST_FINDINGS))]


def count_findings(connection: Connection) -> dict[str, int]:
    """Count the findings about future meetings by kind; counts at most 500 in all."""
    starts_at = CalendarFinding.starts_at
    is_future = or_(starts_at.is_(None), starts_at > db_now())
    some = select(CalendarFinding.kind).where(is_future).limit(MOST_FINDINGS).subquery()
    counted = select(some.c.kind, func.count().label("n")).group_by(some.c.kind)
    return {row.kind: row.n for row in connection.execute(counted)}
