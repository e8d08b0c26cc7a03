"""What looking after the calendars found: runs of reconcile, and findings in users' calendars."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import BigInteger, Connection, Index, Integer, func, or_, select, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, db_now
from models.tables.calendar import CalendarUser

FindingKind = Literal[
    "will_record_without_bot", "two_bots_on_one_meeting", "one_person_two_external_ids"
]
CALENDAR_SWEEP = "calendar_sweep"
# An operator acts on a few; a workspace that has more has one cause, and not thousands.
MOST_FINDINGS = 500


class ReconcileRun(Base):
    """One comparison with List Bots: its window, how far it has come, and what was missed."""

    __tablename__ = "reconcile_runs"

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    # None: every bot there is, ad hoc ones too, which no filter by time lists.
    since: Mapped[datetime | None]
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    # Where to go on: the path of the next page, and what the page before it held.
    position: Mapped[dict[str, Any]]
    pages: Mapped[int] = mapped_column(server_default=text("0"))
    bots_seen: Mapped[int] = mapped_column(server_default=text("0"))
    bots_missed: Mapped[int] = mapped_column(server_default=text("0"))
    statuses_missed: Mapped[int] = mapped_column(server_default=text("0"))
    bots_due: Mapped[int] = mapped_column(server_default=text("0"))
    unusable: Mapped[int] = mapped_column(server_default=text("0"))
    is_complete: Mapped[bool] = mapped_column(server_default=text("false"))
    error: Mapped[str | None]

    __table_args__ = (Index(None, "finished_at", "id"),)


class CalendarFinding(Base):
    """One thing in a calendar user's meetings that an operator should look at.

    `subject` is a meeting's or another user's id: no address, no title, no external_id.
    """

    __tablename__ = "calendar_findings"

    calendar_user_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    starts_at: Mapped[datetime | None]
    bot_ids: Mapped[list[str]]
    found_at: Mapped[datetime]

    __table_args__ = (Index(None, "kind", "starts_at"),)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What the last finished reconcile found that no webhook had told."""

    finished_at: datetime
    since: datetime | None
    bots_seen: int
    bots_missed: int
    statuses_missed: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One finding, as it is listed."""

    kind: str
    calendar_user_id: str
    subject: str
    starts_at: datetime | None
    bot_ids: list[str]
    found_at: datetime


def last_reconcile(connection: Connection) -> Reconciled | None:
    """Read what the last finished run found that can be believed; None when there was none."""
    columns = [getattr(ReconcileRun, name) for name in Reconciled.__slots__]
    # A part of the list, or one too short, proves nothing by what it does not show.
    missed = or_(ReconcileRun.bots_missed > 0, ReconcileRun.statuses_missed > 0)
    tells = or_(ReconcileRun.is_complete, missed) & ReconcileRun.error.is_(None)
    finished = select(*columns).where(ReconcileRun.finished_at.is_not(None), tells)
    latest = finished.order_by(ReconcileRun.finished_at.desc(), ReconcileRun.id.desc()).limit(1)
    found = connection.execute(latest).one_or_none()
    return None if found is None else Reconciled(*found)


def missed_in_words(found: Reconciled) -> str:
    """Return what a reconcile found, as one line for a person."""
    missed = f"{found.bots_missed} bots and {found.statuses_missed} statuses missed"
    partly = "" if found.is_complete else ", not complete"
    return f"{found.finished_at:%Y-%m-%d %H:%M}Z: {missed}, of {found.bots_seen} bots{partly}"


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
