"""Deliveries: every verified webhook that arrived, verbatim."""

from datetime import datetime
from typing import Literal

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, at_most

MESSAGE_ID = at_most(200)
Outcome = Literal["accepted", "ignored", "malformed"]


class Delivery(Base):
    """One webhook message; its id is the sender's, so a repeat finds this row."""

    __tablename__ = "deliveries"

    # As the partial index words it: PostgreSQL's generic plans match the words, not the meaning.
    IS_UNAPPLIED = "applied_at IS NULL AND outcome = 'accepted'"

    # The message id that the sender signs: equal over all attempts and manual resends.
    id: Mapped[str] = mapped_column(primary_key=True, info=MESSAGE_ID)
    event: Mapped[str | None]
    outcome: Mapped[str]
    reason: Mapped[str | None]
    bot_id: Mapped[str | None]
    code: Mapped[str | None]
    sub_code: Mapped[str | None]
    message: Mapped[str | None]
    occurred_at: Mapped[datetime | None]
    # Bytes, because PostgreSQL's text refuses NUL and a signature is over bytes.
    body: Mapped[bytes]
    received_at: Mapped[datetime]
    copies: Mapped[int] = mapped_column(server_default=text("1"))
    last_received_at: Mapped[datetime]
    applied_at: Mapped[datetime | None]
    scheme: Mapped[str]
    secret_fingerprint: Mapped[str]

    __table_args__ = (
        Index(
            "ix_deliveries_unapplied",
            "received_at",
            "bot_id",
            postgresql_where=text(IS_UNAPPLIED),
            sqlite_where=text(IS_UNAPPLIED),
        ),
        Index(None, "received_at", "id"),
        Index(None, "bot_id", "received_at"),
        Index(None, "outcome", "received_at", "id"),
    )
