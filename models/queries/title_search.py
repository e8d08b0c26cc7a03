"""Links by words of meeting titles: titles that hold every word, the latest meeting first."""

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
# SQLite's full-text search finds by a number, and our ids are text; triggers keep both tables.
_TITLES = table("meeting_titles")
_TITLE_IDS = table("meeting_title_ids", column("id"), column("meeting_id"))


def filter_by_title(query: Query, asked: str, dialect: str) -> tuple[Query, Order]:
    """Narrow links to titles that hold the words; returns what they are to be ordered by.

    The planner chooses: words that few titles hold by their own index, common ones along the
    meetings' times, which ends where the page is full.
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
    # Each word in quotes, for some are operators to FTS5.
    match = " ".join(f'"{word}"' for word in words)
    numbers: Query = select(literal_column("rowid")).select_from(_TITLES)
    numbers = numbers.where(literal_column("meeting_titles").op("MATCH")(match))
    return select(_TITLE_IDS.c.meeting_id).where(_TITLE_IDS.c.id.in_(numbers))


def _column(attribute: Any) -> ColumnElement[Any]:
    found: ColumnElement[Any] = attribute.expression
    return found
