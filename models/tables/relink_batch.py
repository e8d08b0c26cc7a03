"""The tables of bulk retries: each a batch with a number, and its bots."""

from datetime import datetime

from sqlalchemy import BigInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import ROW_ID, Base


class RelinkBatch(Base):
    """One bulk retry: when, by whom, and of how many bots."""

    __tablename__ = "relink_batches"

    id: Mapped[int] = mapped_column(ROW_ID, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str]
    bots: Mapped[int] = mapped_column(server_default=text("0"))


class RelinkBatchBot(Base):
    """One bot of a batch; its outcome is kept here once another batch retries the bot."""

    __tablename__ = "relink_batch_bots"

    batch_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    bot_id: Mapped[str] = mapped_column(primary_key=True, index=True)
    outcome: Mapped[str | None]
    reason: Mapped[str | None]
