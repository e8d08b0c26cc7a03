"""Keyset paging, without OFFSET and exact counts, whose cost grows with the table."""

from collections.abc import Callable, Iterator, Sequence
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
    """The rows of a page, and the position after them; None on the last page."""

    rows: list[R]
    next: Position | None


@dataclass(frozen=True, slots=True)
class Listing(Generic[R]):
    """One list: its query, its sort columns (descending, or rising), and its row type."""

    select: Query
    order: tuple[ColumnElement[Any], ...]
    row: Callable[..., R]
    is_rising: bool = False

    def page(self, connection: Connection, limit: int, after: Position | None = None) -> Page[R]:
        """Read one page that starts after a position."""
        # One extra row shows whether there is a next page.
        found = connection.execute(self._query(limit + 1, after)).all()
        rows = [self.row(*one[: -len(self.order)]) for one in found[:limit]]
        is_last = len(found) <= limit
        return Page(rows, None if is_last else tuple(found[limit - 1][-len(self.order) :]))

    def all(self, connection: Connection, chunk: int = 1000) -> Iterator[R]:
        """Yield every row, reading `chunk` at a time to bound memory."""
        page = self.page(connection, chunk)
        yield from page.rows
        while page.next is not None:
            page = self.page(connection, chunk, page.next)
            yield from page.rows

    def count(self, connection: Connection, most: int) -> int:
        """Count the rows, at most `most`."""
        # The columns of a page, because others could change the tables in FROM.
        some = self.select.limit(most).subquery()
        return connection.scalar(select(func.count()).select_from(some)) or 0

    def _query(self, limit: int, after: Position | None) -> Query:
        query = self.select.add_columns(*(c.label(f"by_{n}") for n, c in enumerate(self.order)))
        if after is not None:
            behind = [bindparam(None, v, c.type) for v, c in zip(after, self.order, strict=True)]
            query = query.where(*self._behind(behind))
        order = self.order if self.is_rising else [one.desc() for one in self.order]
        return query.order_by(*order).limit(limit)

    def _behind(self, behind: Sequence[ColumnElement[Any]]) -> Iterator[ColumnElement[bool]]:
        # The first condition is redundant, but an index can use it.
        if self.is_rising:
            yield from (self.order[0] >= behind[0], tuple_(*self.order) > tuple_(*behind))
        else:
            yield from (self.order[0] <= behind[0], tuple_(*self.order) < tuple_(*behind))
