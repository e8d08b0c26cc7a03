"""The table of refused requests."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import ROW_ID, Base
from models.tables.delivery import MESSAGE_ID


class Rejection(Base):
    """One request that was not proved to be Recall's; strangers cause these, so few are kept."""

    __tablename__ = "rejections"

    id: Mapped[int] = mapped_column(ROW_ID, primary_key=True, autoincrement=True)
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
