"""Links by words of meeting titles: PostgreSQL walks them in time's order, SQLite looks them up.

Both find titles that hold every word, in any case and order.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    String,
    Text,
    any_,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from models.base import UtcDateTime
from models.views import BOT_LINKS

Query = Select[*tuple[Any, ...]]

# Triggers keep one row for each word of each title; see the migrations.
WORDS = table(
    "meeting_title_words",
    column("word", Text),
    column("start_time", UtcDateTime),
    column("meeting_id", String),
    column("marks", BigInteger),
)
_OTHERS = WORDS.alias("others")
_TITLES = table("meeting_titles")
_TITLE_IDS = table("meeting_title_ids", column("id"), column("meeting_id"))

# The rarest word first: the one whose newest entries are fewest, or reach back furthest. Sorting
# is made dear until the transaction ends: a planner who takes a word for rare would read and sort
# all that match, where walking the key and stopping at the page's end is never much worse.
_RANKED = text("""
    SELECT word, meeting_title_marks(words) AS marks, set_config('enable_sort', 'off', true)
    FROM meeting_title_lexemes(CAST(:asked AS text)) AS words,
        unnest(words) AS word,
        LATERAL (
            SELECT count(*) AS found, min(start_time) AS back_to FROM (
                SELECT start_time FROM meeting_title_words AS one WHERE one.word = word.word
                ORDER BY start_time DESC LIMIT 500) AS newest) AS density
    ORDER BY found, back_to""")


@dataclass(frozen=True, slots=True)
class Words:
    """What is to be looked for: the rarest word, by which to walk, the others, and all marks."""

    rarest: str | None
    others: list[str]
    marks: int


def read_words(connection: Connection, asked: str) -> Words:
    """Read which words somebody asks for, on PostgreSQL; there may be none in what they typed."""
    ranked = connection.execute(_RANKED, {"asked": asked}).all()
    if not ranked:
        return Words(None, [], 0)
    rarest, *others = (row.word for row in ranked)
    return Words(rarest, others, ranked[0].marks)


def walk_words(query: Query, words: Words) -> Query:
    """Narrow links to titles that hold the words, in the same transaction as `read_words`.

    In the order of `WORDS` it costs what the page holds, and a seventh of a microsecond for each
    title that holds the rarest word and not the others.
    """
    held = select(func.count()).select_from(_OTHERS)
    held = held.where(
        _OTHERS.c.word == any_(literal(words.others, ARRAY(Text))),
        _OTHERS.c.start_time == WORDS.c.start_time,
        _OTHERS.c.meeting_id == WORDS.c.meeting_id,
    )
    query = query.join(WORDS, WORDS.c.meeting_id == BOT_LINKS.c.meeting_id)
    query = query.where(WORDS.c.word == literal(words.rarest, Text))
    if not words.others:
        return query
    # Marks may tell of a word that is not there, and never miss one that is.
    is_marked = WORDS.c.marks.bitwise_and(words.marks) == words.marks
    return query.where(is_marked, held.scalar_subquery() == len(words.others))


def has_words(words: str, dialect: str) -> ColumnElement[bool]:
    """Whether a link's title holds the words; on PostgreSQL no index knows it."""
    if dialect == "postgresql":
        title = func.coalesce(BOT_LINKS.c.meeting_title, text("''"))
        found = func.to_tsvector(text("'simple'"), title)
        return found.op("@@")(func.plainto_tsquery(text("'simple'"), words))
    # Each word in quotes: what is an operator to FTS5 is a word to whoever searches.
    match = " ".join('"' + word.replace('"', '""') + '"' for word in words.split())
    numbers: Query = select(literal_column("rowid")).select_from(_TITLES)
    numbers = numbers.where(literal_column("meeting_titles").op("MATCH")(match))
    found_ids = select(_TITLE_IDS.c.meeting_id).where(_TITLE_IDS.c.id.in_(numbers))
    return BOT_LINKS.c.meeting_id.in_(found_ids)
