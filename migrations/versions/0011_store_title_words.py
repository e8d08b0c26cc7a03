"""Each meeting keeps the words of its title, made by one function for both databases.

On PostgreSQL the rows that are there are filled in batches, and indexed beside the work: nobody
waits longer than for a lock of a moment. Where it was cut off, it goes on.
"""

import re
import unicodedata
from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BATCH = 2000
# The schema is named: without a transaction a pooler may have another path.
NEXT = """SELECT id, title FROM {0}.calendar_meetings
    WHERE id > :last AND title IS NOT NULL ORDER BY id LIMIT :batch"""
# Only where the title is what it was, and nobody writes the row just now: who does is asked
# again by the workers, who look for titles that differ.
FILL = """UPDATE {0}.calendar_meetings AS m
    SET title_words = CAST(new.words AS tsvector), indexed_title = new.title
    FROM unnest(CAST(:ids AS text[]), CAST(:titles AS text[]), CAST(:words AS text[]))
        AS new (id, title, words)
    WHERE m.id = new.id AND m.title = new.title AND m.id IN (
        SELECT id FROM {0}.calendar_meetings WHERE id = ANY (CAST(:ids AS text[]))
        FOR NO KEY UPDATE SKIP LOCKED)"""
POSTGRESQL_INDEXES = {
    "ix_calendar_meetings_title_words": "USING gin (title_words) WITH (fastupdate = off)",
    "ix_calendar_meetings_title_unindexed": "(id) WHERE title IS DISTINCT FROM indexed_title",
}
SQLITE_TRIGGERS = ("meeting_titles_insert", "meeting_titles_update", "meeting_titles_delete")
# The words have only blanks in between, and this tokenizer cuts nothing that is not ASCII.
SQLITE_SEARCH = (
    "CREATE VIRTUAL TABLE meeting_titles USING fts5(words, tokenize = 'ascii')",
    """INSERT INTO meeting_titles (rowid, words)
       SELECT i.id, m.title_words FROM calendar_meetings m
       JOIN meeting_title_ids i ON i.meeting_id = m.id WHERE m.title_words IS NOT NULL""",
    """CREATE TRIGGER meeting_titles_insert AFTER INSERT ON calendar_meetings BEGIN
       INSERT INTO meeting_title_ids (meeting_id) VALUES (new.id);
       INSERT INTO meeting_titles (rowid, words)
       SELECT id, new.title_words FROM meeting_title_ids WHERE meeting_id = new.id; END""",
    """CREATE TRIGGER meeting_titles_update AFTER UPDATE OF title_words ON calendar_meetings
       WHEN old.title_words IS NOT new.title_words BEGIN
       DELETE FROM meeting_titles
       WHERE rowid = (SELECT id FROM meeting_title_ids WHERE meeting_id = new.id);
       INSERT INTO meeting_titles (rowid, words)
       SELECT id, new.title_words FROM meeting_title_ids WHERE meeting_id = new.id; END""",
    """CREATE TRIGGER meeting_titles_delete AFTER DELETE ON calendar_meetings BEGIN
       DELETE FROM meeting_titles
       WHERE rowid = (SELECT id FROM meeting_title_ids WHERE meeting_id = old.id);
       DELETE FROM meeting_title_ids WHERE meeting_id = old.id; END""",
)


def words_of(title: str) -> str:
    """Return a title's words as this release stores them; the code's own may change later."""
    folded = title
    for _ in range(2):
        decomposed = unicodedata.normalize("NFKD", folded)
        folded = "".join(c for c in decomposed if unicodedata.category(c)[0] != "M").casefold()
    found = re.findall(r"[^\W_]+", unicodedata.normalize("NFC", folded))
    return " ".join(dict.fromkeys(word[:255] for word in found))


def upgrade() -> None:
    """Add the words, fill them, index them; then the table of words and its triggers go."""
    if op.get_bind().dialect.name == "postgresql":
        _upgrade_postgresql()
    else:
        _upgrade_sqlite()


def _upgrade_postgresql() -> None:
    for column, kind in (("title_words", "tsvector"), ("indexed_title", "varchar")):
        op.execute(f"ALTER TABLE calendar_meetings ADD COLUMN IF NOT EXISTS {column} {kind}")
    schema: str = (
        op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    )
    # What is committed here stays if the rest fails: each step minds that it was done before.
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        _fill_postgresql(op.get_bind(), schema)
        for name, definition in POSTGRESQL_INDEXES.items():
            # One that was cut off is there, and good for nothing.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema}.{name}")
            made = f"CREATE INDEX CONCURRENTLY {name} ON {schema}.calendar_meetings"
            op.execute(f"{made} {definition}")
        op.execute(f"ANALYZE {schema}.calendar_meetings")
        op.execute("RESET statement_timeout")
        op.execute("RESET lock_timeout")
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("SET LOCAL lock_timeout = '3s'")
    _drop_words()


def _fill_postgresql(connection: sa.Connection, schema: str) -> None:
    following, fill = sa.text(NEXT.format(schema)), sa.text(FILL.format(schema))
    last = ""
    while rows := connection.execute(following, {"last": last, "batch": BATCH}).all():
        titles = [row.title for row in rows]
        batch: dict[str, Any] = {"ids": [row.id for row in rows], "titles": titles}
        batch["words"] = [words_of(title) for title in titles]
        connection.execute(fill, batch)
        last = rows[-1].id


def _drop_words() -> None:
    for event in ("insert", "update", "delete"):
        op.execute(f"DROP TRIGGER meeting_title_words_{event} ON calendar_meetings")
    op.drop_table("meeting_title_words")
    for function in ("words_keep()", "lexemes(text)", "marks(text[])"):
        op.execute(f"DROP FUNCTION meeting_title_{function}")


def _upgrade_sqlite() -> None:
    _drop_sqlite_search()
    op.add_column("calendar_meetings", sa.Column("title_words", sa.Text()))
    op.add_column("calendar_meetings", sa.Column("indexed_title", sa.String()))
    connection = op.get_bind()
    titled = sa.text("SELECT id, title FROM calendar_meetings WHERE title IS NOT NULL")
    filled = sa.text(
        "UPDATE calendar_meetings SET title_words = :words, indexed_title = title WHERE id = :id"
    )
    rows = [{"id": r.id, "words": words_of(r.title)} for r in connection.execute(titled)]
    if rows:
        connection.execute(filled, rows)
    op.create_index(
        "ix_calendar_meetings_title_unindexed",
        "calendar_meetings",
        ["id"],
        sqlite_where=sa.text("title IS NOT indexed_title"),
    )
    for statement in SQLITE_SEARCH:
        op.execute(statement)


def _drop_sqlite_search() -> None:
    for trigger in SQLITE_TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger}")
    op.execute("DROP TABLE meeting_titles")


def downgrade() -> None:
    """Put back what the release before found words by."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    if is_postgresql:
        op.drop_index("ix_calendar_meetings_title_words", "calendar_meetings")
    else:
        _drop_sqlite_search()
    op.drop_index("ix_calendar_meetings_title_unindexed", "calendar_meetings")
    for column in ("indexed_title", "title_words"):
        op.drop_column("calendar_meetings", column)
    for statement in _postgresql_before() if is_postgresql else _sqlite_before():
        op.execute(statement)


def _postgresql_before() -> list[str]:
    words = _module("0010")
    objects = [words.MARKS, words.LEXEMES, words.TABLE, words.KEEP, *words.TRIGGERS]
    return [*objects, words.FILL, words.KEY, "ANALYZE meeting_title_words"]


def _sqlite_before() -> list[str]:
    # The table of ids and its rows, which come first and third, have stayed.
    _ids, table, _rows, fill, insert, _update, delete = _module("0005").SQLITE_TITLES
    return [table, fill, insert, _module("0006").NEW, delete]


def _module(number: str) -> Any:
    return context.script.get_revision(number).module
