"""The views that people and tools read: the contract of the database."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BOT_LINKS = """
CREATE VIEW bot_links AS
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
       links.end_reason
FROM links
JOIN bots ON bots.id = links.bot_id
JOIN calendar_meetings ON calendar_meetings.id = links.meeting_id
"""

UNLINKED_BOTS = """
CREATE VIEW unlinked_bots AS
SELECT id AS bot_id,
       status AS bot_status,
       status_at AS bot_status_at,
       link_state,
       due_at,
       attempts,
       last_error,
       first_seen_at
FROM bots
WHERE link_state <> 'linked'
"""

DELIVERY_LOG = """
CREATE VIEW delivery_log AS
SELECT id AS delivery_id,
       event,
       outcome,
       reason,
       bot_id,
       code,
       sub_code,
       occurred_at,
       received_at,
       copies
FROM deliveries
"""


def upgrade() -> None:
    """Create the three views."""
    for statement in (BOT_LINKS, UNLINKED_BOTS, DELIVERY_LOG):
        op.execute(statement)


def downgrade() -> None:
    """Drop the three views."""
    for view in ("delivery_log", "unlinked_bots", "bot_links"):
        op.execute(f"DROP VIEW {view}")
