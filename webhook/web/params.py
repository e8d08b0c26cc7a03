"""Reads a request's parameters into typed models; an error names the parameter."""

from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar

from flask import Request
from pydantic import BaseModel, Field, create_model

from models.queries.filters import ROWS, Filter, Limit
from models.queries.metadata_filter import PREFIX
from models.queries.pagination import Listing, Position
from models.settings.environment import Settings
from models.tables.base import UtcDateTime
from webhook.web.signing import CURSOR, Signer
from webhook.web.validation import BadParameterError, checked

M = TypeVar("M", bound=BaseModel)


class Format(Filter):
    """The format of a list."""

    format: Literal["json", "csv"] | None = Field(
        None, description="the output format; Accept: text/csv works too"
    )


class Paging(Format):
    """The paging parameters of a list, and its format."""

    limit: Limit = Field(ROWS, description="rows per page; CSV always has the whole list")
    cursor: str | None = Field(None, max_length=2000, description="`next` from the previous page")


@cache
def query_model(wanted: type[Filter]) -> type[Filter]:
    """Return a list's filter with the paging parameters added."""
    return create_model(f"{wanted.__name__}Query", __base__=(wanted, Paging))


def read_query(request: Request, model: type[M]) -> M:
    """Read the query string; BadParameterError for an unknown, repeated or malformed parameter."""
    given = request.args.to_dict(flat=False)
    for name, values in given.items():
        if len(values) > 1:
            raise BadParameterError(name, "is given more than once")
    return checked(model, {name: v[0] for name, v in given.items() if is_given(name, v[0])})


def is_given(name: str, value: str) -> bool:
    """Whether a parameter counts: a form submits the fields that were left empty as well."""
    # But a text under a key of the metadata may be empty; without it every bot would match.
    return value != "" or name.startswith(PREFIX)


def read_json(request: Request, model: type[M]) -> M:
    """Read a JSON object; BadParameterError as above."""
    try:
        body = request.get_json(silent=True)
    except RecursionError:
        # Deeply nested JSON raises this; `silent` covers only ValueError.
        body = None
    if not isinstance(body, dict):
        how = "" if request.is_json else ", sent with Content-Type: application/json"
        raise BadParameterError("body", f"must be a JSON object{how}")
    return checked(model, body)


class Cursors:
    """Positions in lists as opaque, signed text; any other text is refused."""

    def __init__(self, settings: Settings) -> None:
        self._signer = Signer(settings, CURSOR)

    def write(self, name: str, position: Position | None) -> str | None:
        """Return the cursor for the position after a page of this list."""
        if position is None:
            return None
        values = [v.isoformat() if isinstance(v, datetime) else v for v in position]
        return self._signer.sign([name, *values])

    def read(self, name: str, text: str | None, listing: Listing[Any]) -> Position | None:
        """Return the position; BadParameterError if the cursor is not from this list."""
        if text is None:
            return None
        kept = self._signer.read(text)
        # A position in another order means nothing in this one.
        if not isinstance(kept, list) or len(kept) != len(listing.order) + 1 or kept[0] != name:
            raise BadParameterError("cursor", "is not a valid cursor for this list")
        pairs = zip(kept[1:], listing.order, strict=True)
        return tuple(
            datetime.fromisoformat(value) if isinstance(one.type, UtcDateTime) else value
            for value, one in pairs
        )
