"""The tables of what looking after the calendars found: reconcile's runs, and findings."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COUNTS = ("pages", "bots_seen", "bots_missed", "statuses_missed", "bots_due", "unusable")


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)


def upgrade() -> None:
    """Create the two tables."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "reconcile_runs",
        sa.Column("id", kind, autoincrement=True, nullable=False),
        _time("since", null=True),
        _time("started_at"),
        _time("beat_at"),
        _time("finished_at", null=True),
        _json("position"),
        *(_count(name) for name in COUNTS),
        sa.Column("is_complete", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _text("error", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_reconcile_runs"),
    )
    op.create_index("ix_reconcile_runs_finished_at_id", "reconcile_runs", ["finished_at", "id"])
    op.create_table(
        "calendar_findings",
        _text("calendar_user_id"),
        _text("kind"),
        _text("subject"),
        _time("starts_at", null=True),
        _json("bot_ids"),
        _time("found_at"),
        sa.PrimaryKeyConstraint("calendar_user_id", "kind", "subject", name="pk_calendar_findings"),
    )
    op.create_index(
        "ix_calendar_findings_kind_starts_at", "calendar_findings", ["kind", "starts_at"]
    )


def downgrade() -> None:
    """Drop the two tables."""
    for table in ("calendar_findings", "reconcile_runs"):
        op.drop_table(table)
