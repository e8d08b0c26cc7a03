"""Reconcile's runs say who started them; the view says it too, and how each run stands."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# Ten minutes without a page: the process was killed.
IS_DEAD = {
    "postgresql": "beat_at < CURRENT_TIMESTAMP - INTERVAL '10 minutes'",
    "sqlite": "beat_at < strftime('%Y-%m-%d %H:%M:%f', 'now', '-10 minutes')",
}
RECONCILE_LOG = """
    SELECT id AS run_id,
           since,
           started_at,
           finished_at,
           is_complete,
           error,
           pages,
           bots_seen,
           bots_missed,
           statuses_missed,
           bots_due,
           unusable{appended}
    FROM reconcile_runs"""
APPENDED = """,
           started_by,
           CASE WHEN finished_at IS NULL AND (error IS NOT NULL OR {is_dead}) THEN 'interrupted'
                WHEN finished_at IS NULL THEN 'running'
                WHEN error IS NOT NULL THEN 'not_believed'
                WHEN is_complete THEN 'complete'
                ELSE 'incomplete' END AS state"""


def upgrade() -> None:
    """Add the column, and append to the view."""
    is_dead = IS_DEAD[op.get_bind().dialect.name]
    op.execute("DROP VIEW reconcile_log")
    op.add_column("reconcile_runs", sa.Column("started_by", sa.String(), nullable=True))
    op.create_index("ix_reconcile_runs_started_at_id", "reconcile_runs", ["started_at", "id"])
    _create_view(APPENDED.format(is_dead=is_dead))


def downgrade() -> None:
    """Take both away."""
    op.execute("DROP VIEW reconcile_log")
    op.drop_index("ix_reconcile_runs_started_at_id", "reconcile_runs")
    op.drop_column("reconcile_runs", "started_by")
    _create_view("")


def _create_view(appended: str) -> None:
    op.execute(f"CREATE VIEW reconcile_log AS {RECONCILE_LOG.format(appended=appended)}")
