"""What the last check of each user's calendar found, as long as it stands."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, and_, func, not_, or_, select
from sqlalchemy.orm import aliased

from models.queries.filters import ExternalId, Filter, Time
from models.queries.pagination import Listing, Query
from models.tables.base import db_now
from models.tables.calendar import CalendarUser
from models.tables.calendar_finding import CalendarFinding, FindingKind
from models.tables.link import Link

# Counting stops here: so many have one cause, and an operator looks for that.
MOST_FINDINGS = 500
_FINDING = CalendarFinding
_USER, _OTHER = aliased(CalendarUser), aliased(CalendarUser)


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One finding: `subject` is a meeting's id, or another user's, who is `other_external_id`."""

    kind: str
    calendar_user_id: str
    external_id: str | None
    subject: str
    other_external_id: str | None
    meeting_title: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    bot_ids: list[str]
    found_at: datetime


class FindingFilter(Filter):
    """Which findings: by kind, calendar user, or when the meeting starts."""

    kind: FindingKind | None = Field(None, description="what was found")
    external_id: ExternalId | None = Field(None, description="the calendar user, as you named them")
    since: Time | None = Field(None, description="starts_at at or after")
    until: Time | None = Field(None, description="starts_at before")


def findings(wanted: FindingFilter) -> Listing[FindingRow]:
    """List the findings that stand, the latest first; by a time of meetings, the latest meeting."""
    query = _findings()
    if wanted.kind is not None:
        query = query.where(_FINDING.kind == wanted.kind)
    if wanted.external_id is not None:
        query = query.where(_USER.external_id == wanted.external_id)
    if wanted.since is not None:
        query = query.where(_FINDING.starts_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(_FINDING.starts_at < wanted.until)
    # What has no time of a meeting is left out as soon as one is asked for.
    first = _FINDING.starts_at if wanted.since or wanted.until else _FINDING.found_at
    order = (first, _FINDING.calendar_user_id, _FINDING.kind, _FINDING.subject)
    return Listing(query, tuple(one.expression for one in order), FindingRow)


def findings_of(connection: Connection, external_id: str) -> list[FindingRow]:
    """Return the findings of a user that stand, at most 500."""
    theirs = _findings().where(_USER.external_id == external_id).limit(MOST_FINDINGS)
    return [FindingRow(*row) for row in connection.execute(theirs)]


def count_findings(connection: Connection) -> dict[str, int]:
    """Count, by kind, the findings that stand about what has not begun; ends at 500."""
    starts_at = _FINDING.starts_at
    is_upcoming = or_(starts_at.is_(None), starts_at > db_now())
    some = select(_FINDING.kind).where(is_upcoming, _stands()).limit(MOST_FINDINGS).subquery()
    counted = select(some.c.kind, func.count().label("n")).group_by(some.c.kind)
    return {row.kind: row.n for row in connection.execute(counted)}


def _findings() -> Query:
    is_other = and_(_FINDING.kind == "one_person_two_external_ids", _OTHER.id == _FINDING.subject)
    columns = (
        _FINDING.kind,
        _FINDING.calendar_user_id,
        _USER.external_id,
        _FINDING.subject,
        _OTHER.external_id.label("other_external_id"),
        _FINDING.title.label("meeting_title"),
        _FINDING.starts_at,
        _FINDING.ends_at,
        _FINDING.bot_ids,
        _FINDING.found_at,
    )
    query: Query = select(*columns).where(_stands())
    query = query.outerjoin(_USER, _USER.id == _FINDING.calendar_user_id)
    return query.outerjoin(_OTHER, is_other)


def _stands() -> ColumnElement[bool]:
    # Between two checks its cause may end: the meeting is over, or its bot has come.
    is_over = and_(_FINDING.ends_at.is_not(None), _FINDING.ends_at <= db_now())
    bot = (
        select(Link.bot_id)
        .where(Link.meeting_id == _FINDING.subject, Link.seen_start == _FINDING.starts_at)
        .where(Link.ended_at.is_(None))
        # One look-up a finding: EXISTS might read every link there is.
        .limit(1)
        .scalar_subquery()
    )
    is_without_bot = _FINDING.kind == "will_record_without_bot"
    return and_(not_(is_over), or_(not_(is_without_bot), bot.is_(None)))
