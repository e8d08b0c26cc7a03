"""The table of changes that people made."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import ROW_ID, Base, at_most
from models.tables.calendar import EXTERNAL_ID


class Audit(Base):
    """One change that a person made: who, when, what, to how many."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(ROW_ID, primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    # The name of a token, `token` and its fingerprint, or `cli` and a login name.
    actor: Mapped[str] = mapped_column(info=at_most(200))
    action: Mapped[str] = mapped_column(info=at_most(200))
    # A bot's id, or a calendar user as you named them.
    subject: Mapped[str | None] = mapped_column(info=EXTERNAL_ID)
    details: Mapped[dict[str, Any]]

    __table_args__ = (Index(None, "at", "id"),)
