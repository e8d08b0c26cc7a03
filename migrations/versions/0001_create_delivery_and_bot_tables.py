"""The tables that webhooks become: deliveries, bots, their statuses."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UNAPPLIED = sa.text("applied_at IS NULL AND outcome = 'accepted'")
IS_DUE = sa.text("due_at IS NOT NULL")
IS_UNLINKED = sa.text("link_state <> 'linked'")


def _text(name: str, *, null: bool = False, default: str | None = None) -> sa.Column[str]:
    return sa.Column(
        name, sa.String(), nullable=null, server_default=sa.text(default) if default else None
    )


def _time(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _json(name: str, *, null: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.JSON().with_variant(JSONB(), "postgresql"), nullable=null)


def _count(name: str, default: int) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text(str(default)))


def upgrade() -> None:
    """Create the three tables."""
    _create_deliveries()
    _create_bots()


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        _text("id"),
        _text("event", null=True),
        _text("outcome"),
        _text("reason", null=True),
        _text("bot_id", null=True),
        _text("code", null=True),
        _text("sub_code", null=True),
        _text("message", null=True),
        _time("occurred_at", null=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _time("received_at"),
        _count("copies", 1),
        _time("last_received_at"),
        _time("applied_at", null=True),
        _text("scheme"),
        _text("secret_fingerprint"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
    )
    op.create_index(
        "ix_deliveries_unapplied",
        "deliveries",
        ["received_at", "bot_id"],
        postgresql_where=UNAPPLIED,
        sqlite_where=UNAPPLIED,
    )
    op.create_index("ix_deliveries_received_at_id", "deliveries", ["received_at", "id"])
    op.create_index("ix_deliveries_bot_id_received_at", "deliveries", ["bot_id", "received_at"])


def _create_bots() -> None:
    op.create_table(
        "bots",
        _text("id"),
        _text("status"),
        _text("sub_code", null=True),
        _time("status_at"),
        _time("first_seen_at"),
        _json("meeting_url"),
        _text("meeting_platform", null=True),
        _text("bot_name", null=True),
        _json("metadata"),
        _text("link_state", default="'pending'"),
        _time("due_at", null=True),
        _count("due_seq", 0),
        _time("owed_since", null=True),
        _count("attempts", 0),
        _count("crashes", 0),
        _text("lease_token", null=True),
        _time("lease_until", null=True),
        _text("last_error", null=True),
        _time("fetched_at", null=True),
        _time("settled_at", null=True),
        _time("sealed_at", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_bots"),
    )
    op.create_index("ix_bots_due", "bots", ["due_at"], postgresql_where=IS_DUE, sqlite_where=IS_DUE)
    op.create_index(
        "ix_bots_unlinked",
        "bots",
        ["first_seen_at", "id"],
        postgresql_where=IS_UNLINKED,
        sqlite_where=IS_UNLINKED,
    )
    op.create_table(
        "bot_statuses",
        _text("bot_id"),
        _text("code"),
        _time("occurred_at"),
        _text("sub_code", null=True),
        _text("message", null=True),
        _text("delivery_id", null=True),
        sa.PrimaryKeyConstraint("bot_id", "code", "occurred_at", name="pk_bot_statuses"),
    )


def downgrade() -> None:
    """Drop the three tables."""
    for table in ("bot_statuses", "bots", "deliveries"):
        op.drop_table(table)
