"""Bots: their status as the webhooks report it, and whether their link is owed."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.core.bot_status import LONGEST_CODE, LONGEST_WORD
from models.tables.base import Base, at_most

LinkState = Literal["pending", "linked", "no_meetings", "partial", "failed"]


class Bot(Base):
    """One bot, its current status, and the debt of its link: `due_at` when, `due_seq` why."""

    __tablename__ = "bots"

    id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(info=at_most(LONGEST_CODE))
    sub_code: Mapped[str | None]
    status_at: Mapped[datetime]
    first_seen_at: Mapped[datetime]
    meeting_url: Mapped[dict[str, Any] | None]
    meeting_platform: Mapped[str | None]
    bot_name: Mapped[str | None]
    # `metadata` is SQLAlchemy's own word on a class.
    bot_metadata: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    link_state: Mapped[str] = mapped_column(server_default=text("'pending'"))
    # When to link next, and a count of the reasons to: a settle clears the first only while the
    # second is what it was at the claim.
    due_at: Mapped[datetime | None]
    due_seq: Mapped[int] = mapped_column(server_default=text("0"))
    owed_since: Mapped[datetime | None]
    # Errors that were settled, and claims that were never settled: a bug that kills its worker
    # raises only the latter.
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    crashes: Mapped[int] = mapped_column(server_default=text("0"))
    lease_token: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    last_error: Mapped[str | None]
    fetched_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    # The first settle that knew of the terminal event: from then on links only gain.
    sealed_at: Mapped[datetime | None]
    # What the bot's body said of its outcome: a few of [time, code, sub code]. Not rows of
    # bot_statuses: those are what webhooks reported, and reconcile counts what they missed.
    body_statuses: Mapped[list[list[Any]] | None]
    # None until the call is known to have ended; from then on, whether anything was recorded.
    recorded: Mapped[bool | None]
    recorded_from: Mapped[datetime | None]
    recorded_until: Mapped[datetime | None]
    # Why the bot left or never got in: of `call_ended` or `fatal`, not of a later `done`.
    ended_sub_code: Mapped[str | None] = mapped_column(info=at_most(LONGEST_WORD))
    # Of the last `bot.ended`: the same end is reported once.
    ended_digest: Mapped[str | None]

    # In the index's own words, or a question would not be known to imply its predicate.
    IS_LIVE: ClassVar = (
        "status NOT IN ('analysis_done', 'analysis_failed', 'done', 'fatal', 'media_expired')"
    )

    __table_args__ = (
        Index(
            "ix_bots_live",
            "first_seen_at",
            "id",
            postgresql_where=text(IS_LIVE),
            sqlite_where=text(IS_LIVE),
        ),
        Index(
            "ix_bots_due",
            "due_at",
            postgresql_where=text("due_at IS NOT NULL"),
            sqlite_where=text("due_at IS NOT NULL"),
        ),
        Index(
            "ix_bots_unlinked",
            "first_seen_at",
            "id",
            postgresql_where=text("link_state <> 'linked'"),
            sqlite_where=text("link_state <> 'linked'"),
        ),
        Index(
            "ix_bots_failed_reason",
            text("split_part(last_error, ':', 1)"),
            "first_seen_at",
            "id",
            postgresql_where=text("link_state = 'failed'"),
        ).ddl_if(dialect="postgresql"),
        Index(None, "first_seen_at", "id"),
        Index(None, "link_state", "first_seen_at", "id"),
        Index(None, "status", "first_seen_at", "id"),
        Index(None, "recorded", "first_seen_at", "id"),
        Index(None, "ended_sub_code", "first_seen_at", "id"),
        Index(
            "ix_bots_metadata",
            "metadata",
            postgresql_using="gin",
            postgresql_ops={"metadata": "jsonb_path_ops"},
            info={"dialect": "postgresql"},
        ).ddl_if(dialect="postgresql"),
    )


class BotStatus(Base):
    """One status a bot was in; both webhook generations of one transition are one row."""

    __tablename__ = "bot_statuses"

    bot_id: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(primary_key=True)
    sub_code: Mapped[str | None]
    message: Mapped[str | None]
    delivery_id: Mapped[str | None]
