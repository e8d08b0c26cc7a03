"""Links: which bot recorded which calendar meeting, and how each was found out."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import BigInteger, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base
from models.tables.calendar import EXTERNAL_ID

EndReason = Literal["left_calendar_meetings", "calendar_gone", "user_erased"]


class Link(Base):
    """One bot and one meeting it was ever linked to; a row is ended, never deleted."""

    __tablename__ = "links"

    bot_id: Mapped[str] = mapped_column(primary_key=True)
    meeting_id: Mapped[str] = mapped_column(primary_key=True)
    calendar_user_id: Mapped[str | None]
    external_id: Mapped[str | None] = mapped_column(info=EXTERNAL_ID)
    # As in the bot's body: a fetch is saved while they stand still.
    seen_start: Mapped[datetime]
    seen_end: Mapped[datetime]
    linked_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    # Moves with whatever a reader of bot_links can see of the link.
    updated_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "meeting_id", "bot_id"),
        Index(None, "linked_at", "bot_id", "meeting_id"),
        Index(None, "external_id", "linked_at", "bot_id", "meeting_id"),
        Index(None, "updated_at", "bot_id", "meeting_id"),
    )


class LinkAttempt(Base):
    """One try to link a bot: what came of it, and every call it made."""

    __tablename__ = "link_attempts"

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    bot_id: Mapped[str]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime] = mapped_column(index=True)
    # Text and not an enum: an outcome that a newer release adds must not need a migration first.
    outcome: Mapped[str]
    error: Mapped[str | None]
    calls: Mapped[list[dict[str, Any]]]

    __table_args__ = (Index(None, "bot_id", "id"),)
