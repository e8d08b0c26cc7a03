"""Full-text search of links by the words of meeting titles."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    cast,
    column,
    false,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import aliased

from models.core.title_words import title_words
from models.queries.views import BOT_LINKS
from models.tables.calendar import CalendarMeeting

Query = Select[*tuple[Any, ...]]
Order = tuple[ColumnElement[Any], ...]

_TITLED = aliased(CalendarMeeting, name="titled")
# SQLite's FTS5 has numeric rowids and our ids are text; triggers maintain the mapping.
_TITLES = table("meeting_titles")
_TITLE_IDS = table("meeting_title_ids", column("id"), column("meeting_id"))


def filter_by_title(query: Query, asked: str, dialect: str) -> tuple[Query, Order]:
    """Filter links to titles that contain every word; also return the sort columns.

    The planner finds rare words by their index. For common words it follows the meetings' start
    times and stops when the page is full.
    """
    words = title_words(asked)
    links = BOT_LINKS.c
    if dialect != "postgresql":
        found = query.where(links.meeting_id.in_(_sqlite_ids(words)) if words else false())
        return found, (links.meeting_start, links.meeting_id, links.bot_id)
    query = query.join(_TITLED, _TITLED.id == links.meeting_id)
    wanted = cast(literal(" & ".join(words)), TSQUERY)
    query = query.where(_TITLED.title_words.op("@@")(wanted) if words else false())
    return query, (_column(_TITLED.start_time), _column(_TITLED.id), links.bot_id)


def _sqlite_ids(words: list[str]) -> Select[Any]:
    # Quoted, because FTS5 treats some words as operators.
    match = " ".join(f'"{word}"' for word in words)
    rowids: Query = select(literal_column("rowid")).select_from(_TITLES)
    rowids = rowids.where(literal_column("meeting_titles").op("MATCH")(match))
    return select(_TITLE_IDS.c.meeting_id).where(_TITLE_IDS.c.id.in_(rowids))


def _column(attribute: Any) -> ColumnElement[Any]:
    expression: ColumnElement[Any] = attribute.expression
    return expression
