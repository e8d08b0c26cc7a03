"""The table of comparisons with List Bots."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import BigInteger, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base

# How a run stands, as the view reconcile_log says.
RunState = Literal["running", "interrupted", "complete", "incomplete", "not_believed"]
# Who started a run that nobody asked for.
NIGHTLY = "nightly"


class ReconcileRun(Base):
    """One comparison with List Bots: its window, how far it has come, and what was missed."""

    __tablename__ = "reconcile_runs"

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    # None: every bot there is, ad hoc ones too, which no filter by time lists.
    since: Mapped[datetime | None]
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    # Where to go on: the path of the next page, and what the page before it held.
    position: Mapped[dict[str, Any]]
    pages: Mapped[int] = mapped_column(server_default=text("0"))
    bots_seen: Mapped[int] = mapped_column(server_default=text("0"))
    bots_missed: Mapped[int] = mapped_column(server_default=text("0"))
    statuses_missed: Mapped[int] = mapped_column(server_default=text("0"))
    bots_due: Mapped[int] = mapped_column(server_default=text("0"))
    unusable: Mapped[int] = mapped_column(server_default=text("0"))
    is_complete: Mapped[bool] = mapped_column(server_default=text("false"))
    error: Mapped[str | None]
    # `nightly`, or the actor as the audit names them; None before there was this column.
    started_by: Mapped[str | None]

    __table_args__ = (Index(None, "finished_at", "id"), Index(None, "started_at", "id"))
