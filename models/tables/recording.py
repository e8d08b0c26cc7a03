"""Recordings: ids and states of what Recall keeps, never an address."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base

RecordingSource = Literal["bot", "webhook"]


class Recording(Base):
    """One recording of a bot and the media made of it (https://docs.recall.ai/reference/bot_retrieve)."""

    __tablename__ = "recordings"

    # In the words of the partial index: nobody can save what is gone, or was never there.
    IS_EXPIRY_UNREPORTED = (
        "status NOT IN ('deleted', 'failed', 'media_expired')"
        " AND (expiry_reported_until IS NULL OR expires_at >= expiry_reported_until)"
    )

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
    # An expiry before this time is reported already: a day after the one that was.
    expiry_reported_until: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "ix_recordings_expiry_unreported",
            "expires_at",
            "id",
            postgresql_where=text(IS_EXPIRY_UNREPORTED),
            sqlite_where=text(IS_EXPIRY_UNREPORTED),
        ),
        Index(None, "seen_at", "id"),
        Index(None, "expires_at", "id"),
        Index(None, "status", "seen_at", "id"),
        Index(None, "transcript_status", "seen_at", "id"),
    )
