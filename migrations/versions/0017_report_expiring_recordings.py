"""Which recordings were reported as expiring: `recording.expiring` is sent once."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

INDEX = "ix_recordings_expiry_unreported"
IS_UNREPORTED = (
    "status NOT IN ('deleted', 'failed', 'media_expired')"
    " AND (expiry_reported_until IS NULL OR expires_at >= expiry_reported_until)"
)


def upgrade() -> None:
    """Add the column and the index of those that are still to be reported."""
    reported = sa.Column("expiry_reported_until", sa.DateTime(timezone=True), nullable=True)
    op.add_column("recordings", reported)
    where = sa.text(IS_UNREPORTED)
    columns = ["expires_at", "id"]
    op.create_index(INDEX, "recordings", columns, postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    """Drop them."""
    op.drop_index(INDEX, "recordings")
    op.drop_column("recordings", "expiry_reported_until")
