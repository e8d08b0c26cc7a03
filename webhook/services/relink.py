"""Relinking: queues bots to be fetched again, one by id or many by a filter."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field
from sqlalchemy import Connection, Engine

from models.queries.filters import BotFilter, Uuid
from models.queries.lists import bots
from models.queries.pagination import Listing
from models.queries.rows import BotRow
from models.tables.bot import Bot
from webhook.services.reader import Reader
from webhook.web.validation import BadParameterError
from workers.db.audit import audit
from workers.linking.relink import STAGGER_SECONDS, open_batch, relink
from workers.queue.wakeup import WakeUp

MOST = 10_000
BATCH = 500
SAMPLE = 10


class RelinkRequest(BotFilter):
    """Which bots to retry, by ids or by a filter; `preview` changes nothing."""

    bot_ids: Annotated[list[Uuid], Field(min_length=1, max_length=MOST)] | None = None
    preview: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What a relink would retry: how many (at most 10,000), whether more match, and a sample."""

    count: int
    is_more: bool
    sample: list[BotRow]


@dataclass(frozen=True, slots=True)
class Relinked:
    """How many bots were queued for retry, over how many seconds they become due, as which batch.

    `batch` is null for a single bot, and where none matched.
    """

    relinked: int
    over_seconds: float
    is_more: bool
    batch: int | None = None


class RelinkService:
    """Finds the bots that match and makes them due."""

    def __init__(self, reader: Reader, writes: Engine, wakeup: WakeUp) -> None:
        self._reader = reader
        self._writes = writes
        self._wakeup = wakeup

    def one(self, bot_id: str, actor: str) -> bool:
        """Queue one bot for retry; False if it is unknown."""
        with self._writes.begin() as connection:
            done = relink(connection, [bot_id])
            if done:
                audit(connection, actor, "relink", bot_id, {})
        self._wakeup.send()
        return bool(done)

    def preview(self, wanted: RelinkRequest) -> Preview:
        """Return what `many` would retry."""
        listing = self._listing(wanted)

        def read(connection: Connection) -> Preview:
            found = listing.count(connection, MOST + 1)
            return Preview(min(found, MOST), found > MOST, listing.page(connection, SAMPLE).rows)

        return self._reader.read(read)

    def many(
        self,
        wanted: RelinkRequest,
        actor: str,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Relinked:
        """Queue all bots that match, at most 10,000, with one transaction per batch."""
        listing = self._listing(wanted)
        rows = self._reader.read(lambda connection: listing.page(connection, MOST + 1).rows)
        ids = [row.bot_id for row in rows[:MOST]]
        if not ids:
            return Relinked(0, 0.0, is_more=False)
        with self._writes.begin() as connection:
            number = open_batch(connection, actor)
        total = 0
        # Small transactions, so that workers can write in between.
        for start in range(0, len(ids), BATCH):
            with self._writes.begin() as connection:
                batch = ids[start : start + BATCH]
                total += relink(connection, batch, start * STAGGER_SECONDS, number)
            on_progress(total)
        with self._writes.begin() as connection:
            asked = wanted.model_dump(mode="json", exclude_defaults=True, exclude={"preview"})
            details = {"asked": asked, "relinked": total, "batch": number}
            audit(connection, actor, "relink", None, details)
        self._wakeup.send()
        return Relinked(total, round(total * STAGGER_SECONDS, 2), len(rows) > MOST, number)

    def _listing(self, wanted: RelinkRequest) -> Listing[BotRow]:
        filters = wanted.model_dump(exclude={"bot_ids", "preview"}, exclude_defaults=True)
        # An empty filter is far more often a mistake than a wish.
        if not wanted.bot_ids and not filters:
            raise BadParameterError("body", "give bot_ids or a filter: not every bot at once")
        listing = bots(wanted)
        if not wanted.bot_ids:
            return listing
        return replace(listing, select=listing.select.where(Bot.id.in_(wanted.bot_ids)))
