"""Meetings that were to be recorded and were not: the list, and counts by user and by reason."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, func, select

from models.queries.filters import ExternalId, Filter, Time
from models.queries.pagination import Listing, Query
from models.queries.views import MISSED
from models.tables.missed_meeting import MissedReason

MOST_COUNTED = 500
MOST_USERS = 10
_MISSED = MISSED.c


@dataclass(frozen=True, slots=True)
class MissedRow:
    """One row of the view missed_recordings."""

    meeting_id: str
    calendar_user_id: str | None
    external_id: str | None
    meeting_title: str | None
    meeting_start: datetime
    meeting_end: datetime
    reason: str
    sub_code: str | None
    bot_id: str | None
    found_at: datetime
    resolved_at: datetime | None


class MissedFilter(Filter):
    """Which missed meetings: by user, reason or time."""

    external_id: ExternalId | None = Field(None, description="the calendar user, as you named them")
    reason: MissedReason | None = Field(None, description="why it was not recorded")
    since: Time | None = Field(None, description="meeting_start at or after")
    until: Time | None = Field(None, description="meeting_start before")
    unresolved: bool = Field(
        default=False, description="only those that have not turned out to be recorded"
    )


@dataclass(frozen=True, slots=True)
class MissedCounts:
    """How many of the latest 500 were missed by reason, and by the users who missed most."""

    reasons: dict[str, int]
    users: dict[str, int]


def missed(wanted: MissedFilter) -> Listing[MissedRow]:
    """List missed meetings, the latest meeting first."""
    query: Query = select(MISSED)
    for name in ("external_id", "reason"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(_MISSED[name] == value)
    if wanted.since is not None:
        query = query.where(_MISSED.meeting_start >= wanted.since)
    if wanted.until is not None:
        query = query.where(_MISSED.meeting_start < wanted.until)
    if wanted.unresolved:
        query = query.where(_MISSED.resolved_at.is_(None))
    return Listing(query, (_MISSED.meeting_start, _MISSED.meeting_id), MissedRow)


def count_missed(connection: Connection, wanted: MissedFilter) -> MissedCounts:
    """Count the latest 500 by reason and by user."""
    listing = missed(wanted)
    latest = listing.select.order_by(*(one.desc() for one in listing.order)).limit(MOST_COUNTED)
    some = latest.subquery()

    def most(column: ColumnElement[str]) -> dict[str, int]:
        counted = select(column.label("name"), func.count().label("n")).where(column.is_not(None))
        ordered = counted.group_by(column).order_by(func.count().desc(), column).limit(MOST_USERS)
        return {row.name: row.n for row in connection.execute(ordered)}

    return MissedCounts(most(some.c.reason), most(some.c.external_id))
