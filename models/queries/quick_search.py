"""Search in one field: what a text may be (an id, an address, words), and how much matches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import is_too_slow
from models.queries.registry import BOTS, CALENDAR_USERS, DELIVERIES, LINKS, REJECTIONS, ListKind

# Counting stops here: a page shows kinds, and the list behind each has the rows.
MOST = 10
# Each by an index; refused requests have none by message, and are few.
_KINDS = (
    (BOTS, "bot_id"),
    (DELIVERIES, "bot_id"),
    (DELIVERIES, "message_id"),
    (REJECTIONS, "message_id"),
    (LINKS, "meeting_id"),
    (CALENDAR_USERS, "external_id"),
    (LINKS, "external_id"),
    (CALENDAR_USERS, "email"),
    (LINKS, "email"),
    (LINKS, "ical_uid"),
    # Last, since words may take too long.
    (LINKS, "title"),
)


@dataclass(frozen=True, slots=True)
class Hits:
    """How many rows of a list a filter finds: None where counting took too long."""

    kind: ListKind
    name: str
    count: int | None
    # The row, where it is the only one.
    row: Any = None


def search(connection: Connection, text: str, dialect: str) -> Iterator[Hits]:
    """Yield each list and filter that finds something, reading a few rows of each."""
    for kind, name in _KINDS:
        try:
            wanted = kind.wanted.model_validate({name: text})
        except ValidationError:
            # No value of this filter: too long, or no id.
            continue
        listing = kind.listing(wanted, dialect)
        try:
            count = listing.count(connection, MOST)
        except SQLAlchemyError as error:
            if name != "title" or not is_too_slow(error):
                raise
            yield Hits(kind, name, None)
            return
        if count:
            row = listing.page(connection, 1).rows[0] if count == 1 else None
            yield Hits(kind, name, count, row)
