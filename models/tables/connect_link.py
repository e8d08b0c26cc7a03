"""Links by which a calendar is connected: each works once, and for a few minutes."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base


class ConnectLink(Base):
    """One link; its secrets are kept as hashes, and whom it is for is sealed."""

    __tablename__ = "connect_links"

    link_hash: Mapped[str] = mapped_column(primary_key=True)
    # Names the way back once the link was followed: the link itself must not travel to providers.
    trip_hash: Mapped[str | None] = mapped_column(unique=True)
    platform: Mapped[str]
    sealed: Mapped[bytes]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]
