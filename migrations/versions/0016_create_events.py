"""Events for others: an outbox that is written with each change, and its deliveries."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TOGETHER = {
    "postgresql": "string_agg(endpoint, ', ' ORDER BY endpoint)",
    "sqlite": "group_concat(endpoint, ', ')",
}
VIEWS = {
    # Those that have their place in the feed: another may still be about to come before them.
    "event_log": """
        SELECT id AS event_id,
               position,
               type,
               bot_id,
               meeting_id,
               external_id,
               created_at,
               state,
               attempts,
               next_try_at,
               data,
               (SELECT {together} FROM event_deliveries
                WHERE event_deliveries.event_id = events.id) AS endpoints
        FROM events
        WHERE position IS NOT NULL""",
    "event_delivery_log": """
        SELECT event_id,
               endpoint,
               position,
               bot_id,
               state,
               attempts,
               next_try_at
        FROM event_deliveries""",
    "event_attempt_log": """
        SELECT id AS attempt_id,
               event_id,
               endpoint,
               at,
               status,
               ms,
               error
        FROM event_attempts""",
}


def _text(name: str, *, null: bool = True, default: str | None = None) -> sa.Column[Any]:
    server = sa.text(default) if default else None
    return sa.Column(name, sa.String(), nullable=null, server_default=server)


def _time(name: str, *, null: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _count(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)


def upgrade() -> None:
    """Create the tables and views, and the column that says which end of a bot was told."""
    _create_events()
    _create_deliveries()
    _create_attempts()
    op.add_column("bots", _text("ended_digest"))
    together = TOGETHER[op.get_bind().dialect.name]
    for name, asked in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {asked.format(together=together)}")


def downgrade() -> None:
    """Drop them."""
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.drop_column("bots", "ended_digest")
    for table in ("event_attempts", "event_deliveries", "events"):
        op.drop_table(table)


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("seq", ROW_ID, autoincrement=True, nullable=False),
        _text("id", null=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        _text("type", null=False),
        _text("bot_id"),
        _text("meeting_id"),
        _text("external_id"),
        sa.Column("data", JSON, nullable=False),
        _time("created_at", null=False),
        _text("state", null=False, default="'pending'"),
        _count("attempts"),
        _time("next_try_at"),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sa.UniqueConstraint("id", name="uq_events_id"),
        sa.UniqueConstraint("position", name="uq_events_position"),
    )
    is_unnumbered = sa.text("position IS NULL")
    op.create_index(
        "ix_events_unnumbered",
        "events",
        ["seq"],
        postgresql_where=is_unnumbered,
        sqlite_where=is_unnumbered,
    )
    ordered = ("created_at", "id")
    keys = (ordered, ("meeting_id",), ("external_id",))
    for columns in (*keys, *((first, *ordered) for first in ("type", "state", "bot_id"))):
        op.create_index(f"ix_events_{'_'.join(columns)}", "events", list(columns))


def _create_deliveries() -> None:
    op.create_table(
        "event_deliveries",
        _text("event_id", null=False),
        _text("endpoint", null=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        _text("bot_id"),
        _text("state", null=False, default="'pending'"),
        _count("attempts"),
        _time("next_try_at"),
        _text("lease_token"),
        _time("lease_until"),
        sa.PrimaryKeyConstraint("event_id", "endpoint", name="pk_event_deliveries"),
    )
    is_pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_event_deliveries_pending",
        "event_deliveries",
        ["endpoint", "next_try_at", "position"],
        postgresql_where=is_pending,
        sqlite_where=is_pending,
    )
    op.create_index(
        "ix_event_deliveries_pending_bot",
        "event_deliveries",
        ["bot_id", "endpoint"],
        postgresql_where=is_pending,
        sqlite_where=is_pending,
    )
    columns = ["endpoint", "state", "position"]
    op.create_index("ix_event_deliveries_endpoint_state_position", "event_deliveries", columns)


def _create_attempts() -> None:
    op.create_table(
        "event_attempts",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        _text("event_id", null=False),
        _text("endpoint", null=False),
        _time("at", null=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("ms", sa.Integer(), nullable=False),
        _text("error"),
        sa.PrimaryKeyConstraint("id", name="pk_event_attempts"),
    )
    op.create_index("ix_event_attempts_at", "event_attempts", ["at"])
    op.create_index("ix_event_attempts_event_id_id", "event_attempts", ["event_id", "id"])
