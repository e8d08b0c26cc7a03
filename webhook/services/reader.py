"""Reads for requests: one connection each, and a database that is away is a 503."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from models.queries.pagination import Listing

T = TypeVar("T")


class Reader:
    """Runs reads, each in one transaction: what one page shows is one moment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def dialect(self) -> str:
        """Which database this is: postgresql or sqlite."""
        return self._engine.dialect.name

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run one read."""
        with self._engine.connect() as connection:
            return work(connection)

    def stream(self, listing: Listing[T]) -> Iterator[T]:
        """Yield every row of a list, a thousand at a time, over one connection."""
        with self._engine.connect() as connection:
            yield from listing.all(connection)


Rows = Iterator[Any]
