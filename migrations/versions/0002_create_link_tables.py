"""The tables that links are made of: calendar users, meetings, people, links, attempts, tokens."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _json(name: str, *, null: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.JSON().with_variant(JSONB(), "postgresql"), nullable=null)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=True)


def upgrade() -> None:
    """Create the eight tables."""
    _create_calendar()
    _create_links()
    _create_tokens_and_state()


def _create_calendar() -> None:
    op.create_table(
        "calendar_users",
        _text("id"),
        _text("external_id", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_calendar_users"),
    )
    op.create_index("ix_calendar_users_external_id", "calendar_users", ["external_id"])
    op.create_table(
        "calendar_meetings",
        _text("id"),
        _text("calendar_user_id", null=True),
        _time("start_time"),
        _time("end_time"),
        _text("state"),
        _text("reason", null=True),
        _text("title", null=True),
        _text("ical_uid", null=True),
        _text("organizer_email", null=True),
        _text("calendar_platform", null=True),
        _text("meeting_platform", null=True),
        _flag("is_recurring"),
        _flag("is_external"),
        _flag("is_hosted_by_me"),
        _flag("will_record"),
        _text("will_record_reason", null=True),
        _json("attendees"),
        _json("details"),
        _time("fetched_at", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_calendar_meetings"),
    )
    op.create_index("ix_calendar_meetings_ical_uid", "calendar_meetings", ["ical_uid"])
    op.create_index("ix_calendar_meetings_start_time_id", "calendar_meetings", ["start_time", "id"])
    op.create_table(
        "meeting_people",
        _text("meeting_id"),
        _text("email"),
        sa.PrimaryKeyConstraint("meeting_id", "email", name="pk_meeting_people"),
    )
    op.create_index("ix_meeting_people_email", "meeting_people", ["email"])


def _create_links() -> None:
    op.create_table(
        "links",
        _text("bot_id"),
        _text("meeting_id"),
        _text("calendar_user_id", null=True),
        _text("external_id", null=True),
        _time("seen_start"),
        _time("seen_end"),
        _time("linked_at"),
        _time("last_seen_at"),
        _time("ended_at", null=True),
        _text("end_reason", null=True),
        sa.PrimaryKeyConstraint("bot_id", "meeting_id", name="pk_links"),
    )
    op.create_index("ix_links_meeting_id_bot_id", "links", ["meeting_id", "bot_id"])
    op.create_index("ix_links_external_id_linked_at", "links", ["external_id", "linked_at"])
    op.create_table(
        "link_attempts",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        _text("bot_id"),
        _time("started_at"),
        _time("finished_at"),
        _text("outcome"),
        _text("error", null=True),
        _json("calls", null=False),
        sa.PrimaryKeyConstraint("id", name="pk_link_attempts"),
    )
    op.create_index("ix_link_attempts_finished_at", "link_attempts", ["finished_at"])
    op.create_index("ix_link_attempts_bot_id_id", "link_attempts", ["bot_id", "id"])


def _create_tokens_and_state() -> None:
    op.create_table(
        "calendar_tokens",
        _text("external_id_hash"),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        _text("fingerprint"),
        _time("expires_at"),
        sa.PrimaryKeyConstraint("external_id_hash", name="pk_calendar_tokens"),
    )
    op.create_index("ix_calendar_tokens_expires_at", "calendar_tokens", ["expires_at"])
    op.create_table(
        "erased_users",
        _text("external_id_hash"),
        _time("erased_at"),
        _text("reason"),
        _time("lifted_at", null=True),
        sa.PrimaryKeyConstraint("external_id_hash", name="pk_erased_users"),
    )
    op.create_table(
        "workspace_state",
        _text("key"),
        _json("value", null=False),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("key", name="pk_workspace_state"),
    )


def downgrade() -> None:
    """Drop the eight tables."""
    for table in (
        "workspace_state",
        "erased_users",
        "calendar_tokens",
        "link_attempts",
        "links",
        "meeting_people",
        "calendar_meetings",
        "calendar_users",
    ):
        op.drop_table(table)
