"""What bots' bodies say of their outcomes, beside what webhooks reported."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    kind = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("bots", sa.Column("body_statuses", kind, nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("bots", "body_statuses")
