"""Events for others: what changed, written with the change, and how far each was delivered."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import ROW_ID, Base, at_most

EventState = Literal["pending", "delivered", "failed", "off"]
ENDPOINT = at_most(120)


class Event(Base):
    """One event: the row is the outbox, the feed, and what an endpoint is sent."""

    __tablename__ = "events"

    # In the words of the partial index.
    IS_UNNUMBERED = "position IS NULL"

    # In the order of writing. A row commits later than it gets this number, so readers go by
    # `position`, which is given after the commit.
    seq: Mapped[int] = mapped_column(ROW_ID, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    position: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    type: Mapped[str]
    bot_id: Mapped[str | None]
    meeting_id: Mapped[str | None] = mapped_column(index=True)
    external_id: Mapped[str | None] = mapped_column(index=True)
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    # A summary of its deliveries: pending while any waits, failed when any was given up.
    state: Mapped[str] = mapped_column(server_default=text("'pending'"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_try_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "ix_events_unnumbered",
            "seq",
            postgresql_where=text(IS_UNNUMBERED),
            sqlite_where=text(IS_UNNUMBERED),
        ),
        Index(None, "created_at", "id"),
        Index(None, "type", "created_at", "id"),
        Index(None, "state", "created_at", "id"),
        Index(None, "bot_id", "created_at", "id"),
    )


class EventDelivery(Base):
    """One event on its way to one endpoint: when it is tried next, and who tries it."""

    __tablename__ = "event_deliveries"

    IS_PENDING = "state = 'pending'"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    endpoint: Mapped[str] = mapped_column(primary_key=True, info=ENDPOINT)
    position: Mapped[int] = mapped_column(BigInteger)
    bot_id: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default=text("'pending'"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_try_at: Mapped[datetime | None]
    lease_token: Mapped[str | None]
    lease_until: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "ix_event_deliveries_pending",
            "endpoint",
            "next_try_at",
            "position",
            postgresql_where=text(IS_PENDING),
            sqlite_where=text(IS_PENDING),
        ),
        Index(
            "ix_event_deliveries_pending_bot",
            "bot_id",
            "endpoint",
            postgresql_where=text(IS_PENDING),
            sqlite_where=text(IS_PENDING),
        ),
        Index(None, "endpoint", "state", "position"),
    )


class EventAttempt(Base):
    """One try to deliver one event to one endpoint, and what was answered."""

    __tablename__ = "event_attempts"

    id: Mapped[int] = mapped_column(ROW_ID, primary_key=True, autoincrement=True)
    event_id: Mapped[str]
    endpoint: Mapped[str]
    at: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[int | None]
    ms: Mapped[int]
    error: Mapped[str | None]

    __table_args__ = (Index(None, "event_id", "id"),)
