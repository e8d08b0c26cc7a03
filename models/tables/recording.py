"""Recordings: ids and states of what Recall keeps, never an address."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base

RecordingSource = Literal["bot", "webhook"]


class Recording(Base):
    """One recording of a bot and the media made of it (https://docs.recall.ai/reference/bot_retrieve)."""

    __tablename__ = "recordings"

    id: Mapped[str] = mapped_column(primary_key=True)
    bot_id: Mapped[str] = mapped_column(index=True)
    status: Mapped[str]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    transcript_id: Mapped[str | None]
    transcript_status: Mapped[str | None]
    video_id: Mapped[str | None]
    audio_id: Mapped[str | None]
    participant_events_id: Mapped[str | None]
    source: Mapped[str]
    seen_at: Mapped[datetime]
    # When each status here was set at Recall: an older one that comes late changes nothing.
    status_times: Mapped[dict[str, Any] | None]

    __table_args__ = (
        Index(None, "seen_at", "id"),
        Index(None, "expires_at", "id"),
        Index(None, "status", "seen_at", "id"),
        Index(None, "transcript_status", "seen_at", "id"),
    )
