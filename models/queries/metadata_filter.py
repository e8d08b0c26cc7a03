"""The filter `metadata.KEY=value`: bots whose metadata has this text under this key."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, StringConstraints
from sqlalchemy import ColumnElement, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import Boolean

from models.core.sanitize import LONGEST_TEXT, is_storable
from models.tables.base import Json

FIELD = "metadata"
PREFIX = f"{FIELD}."
FORM = "KEY=VALUE"

Pair = tuple[Any, Any]


def _storable(value: str) -> str:
    if not is_storable(value):
        raise ValueError("must not hold NUL or half of a surrogate pair")
    return value


def collect(given: Any) -> Any:
    """Return what was given with each `metadata.KEY` under the one name `metadata`."""
    if not isinstance(given, Mapping):
        return given
    named = {name: v for name, v in given.items() if str(name).startswith(PREFIX)}
    if not named:
        return given
    others = {name: value for name, value in given.items() if name not in named}
    pairs = [(name.removeprefix(PREFIX), value) for name, value in named.items()]
    return others | {FIELD: [*_items(others.get(FIELD)), *pairs]}


def _as_object(value: Any) -> Any:
    # A JSON object, texts KEY=VALUE of an option or a form, or what `collect` has put together.
    if value is None:
        return None
    pairs = [pair for item in _items(value) for pair in _pairs(item)]
    found = dict(pairs)
    # A filter without a key would hold every bot.
    if not found:
        raise ValueError(f"must have the form {FORM}")
    if len(found) != len(pairs):
        raise ValueError("names one key more than once")
    return found


def _items(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def _pairs(item: Any) -> Iterator[Pair]:
    if isinstance(item, Mapping):
        yield from item.items()
    elif isinstance(item, tuple):
        yield item
    else:
        # A value may hold the sign as well; a key with one is asked for as metadata.KEY alone.
        key, sign, value = item.partition("=") if isinstance(item, str) else ("", "", "")
        if not sign:
            raise ValueError(f"must have the form {FORM}")
        yield key, value


_Key = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_TEXT), AfterValidator(_storable)
]
_Value = Annotated[str, StringConstraints(max_length=LONGEST_TEXT), AfterValidator(_storable)]
Metadata = Annotated[dict[_Key, _Value] | None, BeforeValidator(_as_object)]
WORDS = "text in the bot's metadata, as KEY=VALUE or, in a query, metadata.KEY=VALUE"


class HasMetadata(FunctionElement[bool]):
    """The condition that a column of metadata has these texts under these keys."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any], wanted: Mapping[str, str]) -> None:
        super().__init__(column, bindparam(None, dict(wanted), Json))


_HOLDS_ALL = (
    "NOT EXISTS (SELECT 1 FROM json_each({wanted}) AS wanted WHERE NOT EXISTS"
    " (SELECT 1 FROM json_each({column}) AS held WHERE held.key = wanted.key"
    " AND held.type = 'text' AND held.value = wanted.value))"
)


@compiles(HasMetadata, "postgresql")
def _postgresql(element: HasMetadata, compiler: SQLCompiler, **kw: Any) -> str:
    # The operator of the index ix_bots_metadata.
    column, wanted = (compiler.process(one, **kw) for one in element.clauses)
    return f"({column} @> {wanted})"


@compiles(HasMetadata, "sqlite")
def _sqlite(element: HasMetadata, compiler: SQLCompiler, **kw: Any) -> str:
    # Not json_extract: whether a path finds a key with quotes or accents depends on the version.
    column, wanted = (compiler.process(one, **kw) for one in element.clauses)
    return _HOLDS_ALL.format(wanted=wanted, column=column)
