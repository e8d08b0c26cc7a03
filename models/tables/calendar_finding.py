"""The table of what was found in users' calendars."""

from datetime import datetime
from typing import Literal

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from models.core.sanitize import LONGEST_TEXT
from models.tables.base import Base, at_most

FindingKind = Literal[
    "will_record_without_bot", "two_bots_on_one_meeting", "one_person_two_external_ids"
]
_KEY = ("calendar_user_id", "kind", "subject")


class CalendarFinding(Base):
    """One thing in a calendar user's meetings that an operator should look at.

    `subject` is a meeting's or another user's id.
    """

    __tablename__ = "calendar_findings"

    calendar_user_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    starts_at: Mapped[datetime | None]
    # The meeting's. Of a meeting without a bot nothing else is stored.
    title: Mapped[str | None] = mapped_column(info=at_most(LONGEST_TEXT))
    ends_at: Mapped[datetime | None]
    bot_ids: Mapped[list[str]]
    found_at: Mapped[datetime]

    __table_args__ = (
        Index(None, "kind", "starts_at"),
        Index("ix_calendar_findings_starts_at", "starts_at", *_KEY),
        Index("ix_calendar_findings_found_at", "found_at", *_KEY),
    )
