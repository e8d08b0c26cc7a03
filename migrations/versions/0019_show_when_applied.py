"""When a webhook was processed, in delivery_log: appended, since people select by position."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

DELIVERY_LOG = """
SELECT id AS delivery_id,
       event,
       outcome,
       reason,
       bot_id,
       code,
       sub_code,
       occurred_at,
       received_at,
       copies{appended}
FROM deliveries
"""


def upgrade() -> None:
    """Append the column."""
    _remake(",\n       applied_at")


def downgrade() -> None:
    """Take it away."""
    _remake("")


def _remake(appended: str) -> None:
    op.execute("DROP VIEW delivery_log")
    op.execute(f"CREATE VIEW delivery_log AS {DELIVERY_LOG.format(appended=appended)}")
