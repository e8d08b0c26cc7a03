"""How bots ended, what they recorded, what was missed, and who is connected.

Adds columns and tables alone, so that no lock lasts: 0015 fills and indexes them.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def _text(name: str, *, null: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.String(), nullable=null)


def _time(name: str, *, null: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), nullable=True)


def _columns() -> "dict[str, tuple[sa.Column[Any], ...]]":
    return {
        "bots": (
            _flag("recorded"),
            _time("recorded_from"),
            _time("recorded_until"),
            _text("ended_sub_code"),
        ),
        "calendar_users": (
            _text("email"),
            _flag("google_connected"),
            _flag("microsoft_connected"),
            _time("seen_at"),
            _time("gone_at"),
        ),
        "calendar_findings": (_text("title"), _time("ends_at")),
        "calendar_meetings": (_text("meeting_key"),),
        "links": (_time("updated_at"),),
    }


# As they were; and the columns that are appended, never in between: people select by position.
BOT_LINKS = """
SELECT links.bot_id,
       bots.status AS bot_status,
       bots.sub_code AS bot_sub_code,
       bots.status_at AS bot_status_at,
       bots.link_state,
       links.external_id,
       links.calendar_user_id,
       links.meeting_id,
       calendar_meetings.state AS meeting_state,
       calendar_meetings.title AS meeting_title,
       calendar_meetings.start_time AS meeting_start,
       calendar_meetings.end_time AS meeting_end,
       calendar_meetings.organizer_email,
       calendar_meetings.ical_uid,
       calendar_meetings.calendar_platform,
       calendar_meetings.meeting_platform,
       links.linked_at,
       links.ended_at,
       links.end_reason{appended}
FROM links
JOIN bots ON bots.id = links.bot_id
JOIN calendar_meetings ON calendar_meetings.id = links.meeting_id{joined}
"""
BOT_LINKS_APPENDED = """,
       bots.recorded,
       bots.recorded_from,
       bots.recorded_until,
       bots.ended_sub_code,
       recordings.id AS recording_id,
       recordings.expires_at AS recording_expires_at,
       recordings.transcript_id,
       bots.bot_name,
       bots.metadata AS bot_metadata,
       calendar_meetings.meeting_key,
       links.updated_at"""
# Of several recordings the newest.
RECORDINGS_JOINED = """
LEFT JOIN recordings ON recordings.id = (
    SELECT newest.id FROM recordings AS newest
    WHERE newest.bot_id = links.bot_id
    ORDER BY COALESCE(newest.started_at, newest.seen_at) DESC, newest.id DESC
    LIMIT 1)"""
UNLINKED_BOTS = """
SELECT id AS bot_id,
       status AS bot_status,
       status_at AS bot_status_at,
       link_state,
       due_at,
       attempts,
       last_error,
       first_seen_at{appended}
FROM bots
WHERE link_state <> 'linked'
"""
UNLINKED_BOTS_APPENDED = """,
       recorded,
       ended_sub_code,
       bot_name,
       metadata AS bot_metadata"""
NEW_VIEWS = {
    "recording_log": """
        SELECT id AS recording_id,
               bot_id,
               status AS recording_status,
               started_at,
               completed_at,
               expires_at,
               transcript_id,
               transcript_status,
               video_id,
               audio_id,
               participant_events_id,
               source,
               seen_at
        FROM recordings""",
    "missed_recordings": """
        SELECT meeting_id,
               calendar_user_id,
               external_id,
               title AS meeting_title,
               start_time AS meeting_start,
               end_time AS meeting_end,
               reason,
               sub_code,
               bot_id,
               found_at,
               resolved_at
        FROM missed_meetings""",
    "calendar_user_list": """
        SELECT id AS calendar_user_id,
               external_id,
               email,
               google_connected,
               microsoft_connected,
               seen_at,
               gone_at
        FROM calendar_users""",
}


def upgrade() -> None:
    """Add the tables and columns, and append the columns to the views."""
    _create_tables()
    _drop_views(("unlinked_bots", "bot_links"))
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    _create_views(BOT_LINKS_APPENDED, RECORDINGS_JOINED, UNLINKED_BOTS_APPENDED)
    for name, asked in NEW_VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {asked}")


def downgrade() -> None:
    """Take them away; the links stay."""
    _drop_views((*reversed(NEW_VIEWS), "unlinked_bots", "bot_links"))
    for table, columns in _columns().items():
        for column in reversed(columns):
            op.drop_column(table, column.name)
    op.drop_table("missed_meetings")
    op.drop_table("recordings")
    _create_views("", "", "")


def _drop_views(names: "tuple[str, ...]") -> None:
    for name in names:
        op.execute(f"DROP VIEW {name}")


def _create_views(links: str, joined: str, unlinked: str) -> None:
    op.execute(f"CREATE VIEW bot_links AS {BOT_LINKS.format(appended=links, joined=joined)}")
    op.execute(f"CREATE VIEW unlinked_bots AS {UNLINKED_BOTS.format(appended=unlinked)}")


def _create_tables() -> None:
    op.create_table(
        "recordings",
        _text("id", null=False),
        _text("bot_id", null=False),
        _text("status", null=False),
        _time("started_at"),
        _time("completed_at"),
        _time("expires_at"),
        _text("transcript_id"),
        _text("transcript_status"),
        _text("video_id"),
        _text("audio_id"),
        _text("participant_events_id"),
        _text("source", null=False),
        _time("seen_at", null=False),
        sa.Column("status_times", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_recordings"),
    )
    timed = [["status", "seen_at", "id"], ["transcript_status", "seen_at", "id"]]
    for found_by in (["bot_id"], ["seen_at", "id"], ["expires_at", "id"], *timed):
        op.create_index(f"ix_recordings_{'_'.join(found_by)}", "recordings", found_by)
    op.create_table(
        "missed_meetings",
        _text("meeting_id", null=False),
        _text("calendar_user_id"),
        _text("external_id"),
        _text("title"),
        _time("start_time", null=False),
        _time("end_time", null=False),
        _text("reason", null=False),
        _text("sub_code"),
        _text("bot_id"),
        _time("found_at", null=False),
        _time("resolved_at"),
        sa.PrimaryKeyConstraint("meeting_id", name="pk_missed_meetings"),
    )
    ordered = ("start_time", "meeting_id")
    keys = (ordered, ("external_id", *ordered), ("reason", *ordered), ("bot_id",), ("found_at",))
    for columns in keys:
        op.create_index(f"ix_missed_meetings_{'_'.join(columns)}", "missed_meetings", list(columns))
