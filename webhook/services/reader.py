"""Database reads for requests, each on its own connection."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from sqlalchemy import Connection, Engine

from models.queries.pagination import Listing

T = TypeVar("T")


class Reader:
    """Runs each read in one transaction, so that a page shows one moment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def dialect(self) -> str:
        """The database's dialect: postgresql or sqlite."""
        return self._engine.dialect.name

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run one read."""
        with self._engine.connect() as connection:
            return work(connection)

    def stream(self, listing: Listing[T]) -> Iterator[T]:
        """Yield every row of a list, fetched a thousand at a time over one connection."""
        with self._engine.connect() as connection:
            yield from listing.all(connection)

    def lines(self, work: Callable[[Connection], Iterator[str]]) -> Iterator[str]:
        """Yield the text that one read makes, over one connection."""
        with self._engine.connect() as connection:
            yield from work(connection)
