"""What operators ask about beside bots: refused requests, counts by the hour, who changed what."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, at_most
from models.tables.calendar import EXTERNAL_ID
from models.tables.delivery import MESSAGE_ID

# The hour under which a tally counts everything there ever was: before all hours.
TOTAL = datetime(1970, 1, 1, tzinfo=UTC)
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")


class Rejection(Base):
    """One request that was not proved to be Recall's; strangers cause these, so few are kept."""

    __tablename__ = "rejections"

    id: Mapped[int] = mapped_column(_ROW_ID, primary_key=True, autoincrement=True)
    received_at: Mapped[datetime]
    reason: Mapped[str]
    remote_addr: Mapped[str | None]
    message_id: Mapped[str | None] = mapped_column(info=MESSAGE_ID)
    # Verbatim and shown to nobody: they are what a re-check needs.
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes | None]
    resolved_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "received_at", "id"),
        Index(
            "ix_rejections_unresolved",
            "id",
            postgresql_where=text("resolved_at IS NULL"),
            sqlite_where=text("resolved_at IS NULL"),
        ),
    )


class Tally(Base):
    """How often something happened in one hour: metrics and charts read these, not big tables."""

    __tablename__ = "tallies"

    name: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger())

    __table_args__ = (Index(None, "hour"),)


class Audit(Base):
    """One change that a person made: who, when, what, to how many."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(_ROW_ID, primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str] = mapped_column(info=at_most(200))
    # A bot's id, or a calendar user as you named them.
    subject: Mapped[str | None] = mapped_column(info=EXTERNAL_ID)
    details: Mapped[dict[str, Any]]

    __table_args__ = (Index(None, "at", "id"),)
