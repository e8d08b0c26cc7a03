"""Meetings that were to be recorded and were not."""

from datetime import datetime
from typing import Literal

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from models.core.sanitize import LONGEST_TEXT
from models.tables.base import Base, at_most
from models.tables.calendar import EXTERNAL_ID

MissedReason = Literal["no_bot", "not_admitted", "bot_failed", "not_recorded"]


class MissedMeeting(Base):
    """One meeting that is over and was not recorded, and why; kept for 30 days."""

    __tablename__ = "missed_meetings"

    meeting_id: Mapped[str] = mapped_column(primary_key=True)
    calendar_user_id: Mapped[str | None]
    external_id: Mapped[str | None] = mapped_column(info=EXTERNAL_ID)
    title: Mapped[str | None] = mapped_column(info=at_most(LONGEST_TEXT))
    start_time: Mapped[datetime]
    end_time: Mapped[datetime]
    reason: Mapped[str]
    sub_code: Mapped[str | None]
    bot_id: Mapped[str | None] = mapped_column(index=True)
    found_at: Mapped[datetime] = mapped_column(index=True)
    # When it turned out to be recorded after all.
    resolved_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "start_time", "meeting_id"),
        Index(None, "external_id", "start_time", "meeting_id"),
        Index(None, "reason", "start_time", "meeting_id"),
    )
