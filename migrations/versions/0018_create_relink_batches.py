"""Bulk retries as numbered batches, and what came of each of their bots."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REASON = {
    "postgresql": "split_part(bots.last_error, ':', 1)",
    "sqlite": "substr(bots.last_error, 1, instr(bots.last_error || ':', ':') - 1)",
}
# As the bot is now, until another batch has it: that keeps what had come of this one. A linked bot
# whose new look-up is still due waits as well.
BATCH_LOG = """
SELECT batches.id AS batch_id,
       batches.at AS retried_at,
       batches.actor,
       members.bot_id,
       CASE WHEN members.outcome IS NOT NULL THEN members.outcome
            WHEN bots.settled_at IS NULL OR bots.settled_at < batches.at THEN 'pending'
            WHEN bots.link_state IN ('failed', 'partial') THEN bots.link_state
            WHEN bots.due_at IS NOT NULL THEN 'pending'
            ELSE bots.link_state
       END AS outcome,
       CASE WHEN members.outcome IS NOT NULL THEN members.reason ELSE {reason} END AS reason
FROM relink_batches AS batches
JOIN relink_batch_bots AS members ON members.batch_id = batches.id
JOIN bots ON bots.id = members.bot_id
"""


def upgrade() -> None:
    """Create both tables, and the view of them."""
    op.create_table(
        "relink_batches",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("bots", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_relink_batches"),
    )
    op.create_index("ix_relink_batches_at", "relink_batches", ["at"])
    op.create_table(
        "relink_batch_bots",
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("bot_id", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("batch_id", "bot_id", name="pk_relink_batch_bots"),
    )
    op.create_index("ix_relink_batch_bots_bot_id", "relink_batch_bots", ["bot_id"])
    reason = REASON[op.get_bind().dialect.name]
    op.execute(f"CREATE VIEW relink_batch_log AS {BATCH_LOG.format(reason=reason)}")


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP VIEW relink_batch_log")
    op.drop_table("relink_batch_bots")
    op.drop_table("relink_batches")
