"""The table of links by which calendars are connected."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "connect_links",
        sa.Column("link_hash", sa.String(), nullable=False),
        sa.Column("trip_hash", sa.String(), nullable=True),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("link_hash", name="pk_connect_links"),
        sa.UniqueConstraint("trip_hash", name="uq_connect_links_trip_hash"),
    )
    op.create_index("ix_connect_links_expires_at", "connect_links", ["expires_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("connect_links")
