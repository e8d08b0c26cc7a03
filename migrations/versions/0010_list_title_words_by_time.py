"""PostgreSQL finds words of titles in the order of time, so that a page stops when it is full.

An inverted index gives all that match, and sorting them costs what the table has grown to.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Three bits of 64 for each word: a title that lacks one of two words is seen to lack it without
# looking the second one up. SHA-256, since it is the same on every server and release.
MARKS = """CREATE FUNCTION meeting_title_marks(words text[]) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE marks bigint := 0; word text; hash bytea;
    BEGIN
        FOREACH word IN ARRAY words LOOP
            hash := sha256(convert_to(word, 'UTF8'));
            marks := marks | (1::bigint << get_byte(hash, 0) % 64)
                | (1::bigint << get_byte(hash, 1) % 64) | (1::bigint << get_byte(hash, 2) % 64);
        END LOOP;
        RETURN marks;
    END $$"""
LEXEMES = """CREATE FUNCTION meeting_title_lexemes(title text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT tsvector_to_array(to_tsvector('simple'::regconfig, coalesce(title, ''))) $$"""
# A lexeme has 2,046 bytes at most: with all else it fits into what an index's row may have.
TABLE = """CREATE TABLE meeting_title_words (
    word text COLLATE "C" NOT NULL,
    start_time timestamptz NOT NULL,
    meeting_id varchar NOT NULL,
    marks bigint NOT NULL)"""
# OFFSET 0 keeps the marks from being made anew for each word.
FILL = """INSERT INTO meeting_title_words (word, start_time, meeting_id, marks)
    SELECT unnest(words), start_time, id, marks
    FROM (SELECT id, start_time, words, meeting_title_marks(words) AS marks
          FROM (SELECT id, start_time, meeting_title_lexemes(title) AS words
                FROM calendar_meetings WHERE title IS NOT NULL OFFSET 0) AS titles
          OFFSET 0) AS marked"""
KEY = """ALTER TABLE meeting_title_words ADD CONSTRAINT pk_meeting_title_words
    PRIMARY KEY (word, start_time, meeting_id) INCLUDE (marks)"""
KEEP = """CREATE FUNCTION meeting_title_words_keep() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE words text[]; marks bigint;
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            DELETE FROM meeting_title_words
            WHERE word = ANY (meeting_title_lexemes(OLD.title))
                AND start_time = OLD.start_time AND meeting_id = OLD.id;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            words := meeting_title_lexemes(NEW.title);
            marks := meeting_title_marks(words);
            INSERT INTO meeting_title_words (word, start_time, meeting_id, marks)
            SELECT unnest(words), NEW.start_time, NEW.id, marks;
        END IF;
        RETURN NULL;
    END $$"""
# Workers write the same title again and again: that must cost nothing.
TRIGGERS = (
    """CREATE TRIGGER meeting_title_words_insert AFTER INSERT ON calendar_meetings FOR EACH ROW
       WHEN (NEW.title IS NOT NULL) EXECUTE FUNCTION meeting_title_words_keep()""",
    """CREATE TRIGGER meeting_title_words_update AFTER UPDATE ON calendar_meetings FOR EACH ROW
       WHEN ((OLD.title, OLD.start_time, OLD.id) IS DISTINCT FROM
             (NEW.title, NEW.start_time, NEW.id))
       EXECUTE FUNCTION meeting_title_words_keep()""",
    """CREATE TRIGGER meeting_title_words_delete AFTER DELETE ON calendar_meetings FOR EACH ROW
       WHEN (OLD.title IS NOT NULL) EXECUTE FUNCTION meeting_title_words_keep()""",
)


def upgrade() -> None:
    """Fill the table, and keep it by triggers; the inverted index goes."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for statement in (MARKS, LEXEMES, TABLE, KEEP, *TRIGGERS):
        op.execute(statement)
    # The triggers come first: their lock keeps every writer out until the words are all there.
    for statement in (FILL, KEY, "ANALYZE meeting_title_words"):
        op.execute(statement)
    op.drop_index("ix_calendar_meetings_title_words", "calendar_meetings")


def downgrade() -> None:
    """Take all of it away, and put the inverted index back."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.create_index(
        "ix_calendar_meetings_title_words",
        "calendar_meetings",
        [sa.text("to_tsvector('simple', coalesce(title, ''))")],
        postgresql_using="gin",
    )
    for event in ("insert", "update", "delete"):
        op.execute(f"DROP TRIGGER meeting_title_words_{event} ON calendar_meetings")
    op.drop_table("meeting_title_words")
    for function in ("words_keep()", "lexemes(text)", "marks(text[])"):
        op.execute(f"DROP FUNCTION meeting_title_{function}")
