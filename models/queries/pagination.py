"""Keyset paging: no OFFSET and no exact count, which cost what the table has grown to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    func,
    select,
    tuple_,
)

R = TypeVar("R")


Position = tuple[Any, ...]


Query = Select[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Some rows, and the position behind the last of them; None at the end."""

    rows: list[R]
    next: Position | None


@dataclass(frozen=True, slots=True)
class Listing(Generic[R]):
    """One list: what it selects, what orders it, and the rows it is read as."""

    select: Query
    order: tuple[ColumnElement[Any], ...]
    row: Callable[..., R]

    def page(self, connection: Connection, limit: int, after: Position | None = None) -> Page[R]:
        """Read one page, from behind a position on."""
        # One more than asked for: whether there is a next page needs no count.
        found = connection.execute(self._query(limit + 1, after)).all()
        rows = [self.row(*one[: -len(self.order)]) for one in found[:limit]]
        is_last = len(found) <= limit
        return Page(rows, None if is_last else tuple(found[limit - 1][-len(self.order) :]))

    def all(self, connection: Connection, chunk: int = 1000) -> Iterator[R]:
        """Read every row, some at a time, so that a hundred thousand take no more memory."""
        page = self.page(connection, chunk)
        yield from page.rows
        while page.next is not None:
            page = self.page(connection, chunk, page.next)
            yield from page.rows

    def count(self, connection: Connection, most: int) -> int:
        """Count its rows, up to `most` of them."""
        # The same select as a page's: with other columns it could come to stand on other tables.
        some = self.select.limit(most).subquery()
        return connection.scalar(select(func.count()).select_from(some)) or 0

    def _query(self, limit: int, after: Position | None) -> Query:
        query = self.select.add_columns(*(c.label(f"by_{n}") for n, c in enumerate(self.order)))
        if after is not None:
            behind = [bindparam(None, v, c.type) for v, c in zip(after, self.order, strict=True)]
            # The first half says nothing new, but an index knows what to do with it.
            query = query.where(self.order[0] <= behind[0], tuple_(*self.order) < tuple_(*behind))
        return query.order_by(*(one.desc() for one in self.order)).limit(limit)
