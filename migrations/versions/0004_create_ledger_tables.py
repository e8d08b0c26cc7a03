"""The tables of what operators ask about: rejections, tallies by the hour, the audit."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UNRESOLVED = sa.text("resolved_at IS NULL")


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False)


def _row_id() -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("id", kind, autoincrement=True, nullable=False)


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "rejections",
        _row_id(),
        _time("received_at"),
        _text("reason"),
        _text("remote_addr", null=True),
        _text("message_id", null=True),
        _json("headers"),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        _time("resolved_at", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_rejections"),
    )
    op.create_index("ix_rejections_received_at_id", "rejections", ["received_at", "id"])
    op.create_index(
        "ix_rejections_unresolved",
        "rejections",
        ["id"],
        postgresql_where=UNRESOLVED,
        sqlite_where=UNRESOLVED,
    )
    op.create_table(
        "tallies",
        _text("name"),
        _text("label"),
        _time("hour"),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label", "hour", name="pk_tallies"),
    )
    op.create_index("ix_tallies_hour", "tallies", ["hour"])
    op.create_table(
        "audit",
        _row_id(),
        _time("at"),
        _text("actor"),
        _text("action"),
        _text("subject", null=True),
        _json("details"),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at_id", "audit", ["at", "id"])


def downgrade() -> None:
    """Drop the three tables."""
    for table in ("audit", "tallies", "rejections"):
        op.drop_table(table)
