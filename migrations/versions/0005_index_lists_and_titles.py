"""Indexes for the lists that operators page through, and for words in titles."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_bots_first_seen_at_id", "bots", ["first_seen_at", "id"]),
    ("ix_bots_link_state_first_seen_at_id", "bots", ["link_state", "first_seen_at", "id"]),
    ("ix_bots_status_first_seen_at_id", "bots", ["status", "first_seen_at", "id"]),
    ("ix_links_linked_at_bot_id_meeting_id", "links", ["linked_at", "bot_id", "meeting_id"]),
    (
        "ix_links_external_id_linked_at_bot_id_meeting_id",
        "links",
        ["external_id", "linked_at", "bot_id", "meeting_id"],
    ),
    ("ix_deliveries_outcome_received_at_id", "deliveries", ["outcome", "received_at", "id"]),
)
# SQLite's full text search finds by a number, and our ids are text.
SQLITE_TITLES = (
    "CREATE TABLE meeting_title_ids (id INTEGER PRIMARY KEY, meeting_id VARCHAR NOT NULL UNIQUE)",
    "CREATE VIRTUAL TABLE meeting_titles USING fts5(title)",
    "INSERT INTO meeting_title_ids (meeting_id) SELECT id FROM calendar_meetings",
    """INSERT INTO meeting_titles (rowid, title)
       SELECT i.id, m.title FROM calendar_meetings m
       JOIN meeting_title_ids i ON i.meeting_id = m.id WHERE m.title IS NOT NULL""",
    """CREATE TRIGGER meeting_titles_insert AFTER INSERT ON calendar_meetings BEGIN
       INSERT INTO meeting_title_ids (meeting_id) VALUES (new.id);
       INSERT INTO meeting_titles (rowid, title)
       SELECT id, new.title FROM meeting_title_ids WHERE meeting_id = new.id; END""",
    """CREATE TRIGGER meeting_titles_update AFTER UPDATE OF title ON calendar_meetings
       WHEN old.title IS NOT new.title BEGIN
       UPDATE meeting_titles SET title = new.title
       WHERE rowid = (SELECT id FROM meeting_title_ids WHERE meeting_id = new.id); END""",
    """CREATE TRIGGER meeting_titles_delete AFTER DELETE ON calendar_meetings BEGIN
       DELETE FROM meeting_titles
       WHERE rowid = (SELECT id FROM meeting_title_ids WHERE meeting_id = old.id);
       DELETE FROM meeting_title_ids WHERE meeting_id = old.id; END""",
)
SQLITE_TRIGGERS = ("meeting_titles_delete", "meeting_titles_update", "meeting_titles_insert")


def upgrade() -> None:
    """Create the indexes; the one by person and the one of links replace a shorter one."""
    op.drop_index("ix_links_external_id_linked_at", "links")
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)
    if op.get_bind().dialect.name == "postgresql":
        words = sa.text("to_tsvector('simple', coalesce(title, ''))")
        op.create_index(
            "ix_calendar_meetings_title_words",
            "calendar_meetings",
            [words],
            postgresql_using="gin",
        )
    else:
        for statement in SQLITE_TITLES:
            op.execute(statement)


def downgrade() -> None:
    """Drop them, and put the shorter index back."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_calendar_meetings_title_words", "calendar_meetings")
    else:
        for trigger in SQLITE_TRIGGERS:
            op.execute(f"DROP TRIGGER {trigger}")
        for table in ("meeting_titles", "meeting_title_ids"):
            op.execute(f"DROP TABLE {table}")
    for name, table, _ in reversed(INDEXES):
        op.drop_index(name, table)
    op.create_index("ix_links_external_id_linked_at", "links", ["external_id", "linked_at"])
