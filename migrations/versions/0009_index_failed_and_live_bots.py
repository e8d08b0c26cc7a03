"""Failed bots by the reason that begins their last error, and bots that are not over yet.

Both were found by walking more of the table than the answer has rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


LIVE = "status NOT IN ('analysis_done', 'analysis_failed', 'done', 'fatal', 'media_expired')"


def upgrade() -> None:
    """Create both; of reasons SQLite has none, since it has no such function."""
    op.create_index(
        "ix_bots_live",
        "bots",
        ["first_seen_at", "id"],
        postgresql_where=sa.text(LIVE),
        sqlite_where=sa.text(LIVE),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "ix_bots_failed_reason",
            "bots",
            [sa.text("split_part(last_error, ':', 1)"), "first_seen_at", "id"],
            postgresql_where=sa.text("link_state = 'failed'"),
        )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_bots_live", "bots")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_bots_failed_reason", "bots")
