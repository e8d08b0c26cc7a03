"""The table of counts by the hour: metrics and charts read these, not big tables."""

from datetime import UTC, datetime

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base

# The hour under which a tally counts everything there ever was: before all hours.
TOTAL = datetime(1970, 1, 1, tzinfo=UTC)
# Bots by how they ended and why, "recorded call_ended_by_host": each once, when it is sealed.
BOT_END = "bot_end"


class HourlyCount(Base):
    """How often something happened in one hour: metrics and charts read these, not big tables."""

    __tablename__ = "tallies"

    name: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger())

    __table_args__ = (Index(None, "hour"),)


# Seconds from a bot's first webhook to its first settle; the last bucket holds the rest.
LATENCY_BUCKETS = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
