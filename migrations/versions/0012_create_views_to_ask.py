"""Views for whatever an operator asks in SQL: the role that only reads has no table."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

VIEWS = {
    "bot_people": """
        SELECT links.bot_id,
               links.meeting_id,
               meeting_people.email
        FROM links
        JOIN meeting_people ON meeting_people.meeting_id = links.meeting_id""",
    "attempt_log": """
        SELECT id AS attempt_id,
               bot_id,
               started_at,
               finished_at,
               outcome,
               error,
               calls
        FROM link_attempts""",
    "rejection_log": """
        SELECT id AS rejection_id,
               received_at,
               reason,
               remote_addr,
               message_id,
               resolved_at
        FROM rejections""",
    "due_bots": """
        SELECT id AS bot_id,
               status AS bot_status,
               link_state,
               due_at,
               owed_since,
               attempts,
               crashes,
               last_error
        FROM bots
        WHERE due_at <= CURRENT_TIMESTAMP""",
    "unapplied_deliveries": """
        SELECT id AS delivery_id,
               event,
               bot_id,
               received_at
        FROM deliveries
        WHERE applied_at IS NULL AND outcome = 'accepted'""",
    # Without the counts of all time, which stand under an hour before all hours.
    "hourly_counts": """
        SELECT hour,
               name,
               label,
               count
        FROM tallies
        WHERE hour > '1970-01-02'""",
    "audit_log": """
        SELECT id AS audit_id,
               at,
               actor,
               action,
               subject,
               details
        FROM audit""",
    "reconcile_log": """
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
               unusable
        FROM reconcile_runs""",
}
TITLE_SEARCH = {
    "postgresql": """
        SELECT id AS meeting_id,
               title_words AS words
        FROM calendar_meetings""",
    "sqlite": """
        SELECT meeting_title_ids.meeting_id,
               meeting_titles.words
        FROM meeting_titles
        JOIN meeting_title_ids ON meeting_title_ids.id = meeting_titles.rowid""",
}


def upgrade() -> None:
    """Create the views."""
    search = TITLE_SEARCH[op.get_bind().dialect.name]
    for name, asked in (*VIEWS.items(), ("title_search", search)):
        op.execute(f"CREATE VIEW {name} AS {asked}")


def downgrade() -> None:
    """Drop them."""
    for name in ("title_search", *VIEWS):
        op.execute(f"DROP VIEW {name}")
