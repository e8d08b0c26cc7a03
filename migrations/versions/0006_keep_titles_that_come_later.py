"""SQLite's title search finds a meeting whose title came after it: the index had no row for it."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# An update changes nothing where there is no row: a meeting older than the index had none.
NEW = """CREATE TRIGGER meeting_titles_update AFTER UPDATE OF title ON calendar_meetings
       WHEN old.title IS NOT new.title BEGIN
       DELETE FROM meeting_titles
       WHERE rowid = (SELECT id FROM meeting_title_ids WHERE meeting_id = new.id);
       INSERT INTO meeting_titles (rowid, title)
       SELECT id, new.title FROM meeting_title_ids WHERE meeting_id = new.id; END"""
OLD = """CREATE TRIGGER meeting_titles_update AFTER UPDATE OF title ON calendar_meetings
       WHEN old.title IS NOT new.title BEGIN
       UPDATE meeting_titles SET title = new.title
       WHERE rowid = (SELECT id FROM meeting_title_ids WHERE meeting_id = new.id); END"""
MISSING = """INSERT INTO meeting_titles (rowid, title)
       SELECT i.id, m.title FROM calendar_meetings m
       JOIN meeting_title_ids i ON i.meeting_id = m.id
       WHERE m.title IS NOT NULL AND i.id NOT IN (SELECT rowid FROM meeting_titles)"""


def upgrade() -> None:
    """Replace the trigger, and index what it left out."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER meeting_titles_update")
        op.execute(NEW)
        op.execute(MISSING)


def downgrade() -> None:
    """Put the old trigger back."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER meeting_titles_update")
        op.execute(OLD)
