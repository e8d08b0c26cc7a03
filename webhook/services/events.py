"""Sending events again, one or all that a filter holds, and turning endpoints off and on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field
from sqlalchemy import Connection, Engine

from models.queries.events.endpoints import EndpointRow, endpoint_row
from models.queries.events.event_detail import EventDetail, event_detail
from models.queries.events.event_list import EventFilter, events
from models.queries.filters import EventId
from models.queries.pagination import Listing
from models.queries.rows import EventRow
from models.queries.views import EVENT_LOG
from models.settings.events import EventSettings
from webhook.services.reader import Reader
from webhook.web.validation import BadParameterError
from workers.db.audit import audit
from workers.events.endpoints import put_off, resend, take_up, turn_off, turn_on
from workers.outbox.numbering import routes_of

MOST = 10_000
BATCH = 500
SAMPLE = 10
ACTION = "events resend"


class ResendRequest(EventFilter):
    """Which events to send again: by ids, or by a filter; `preview` changes nothing."""

    event_ids: Annotated[list[EventId], Field(min_length=1, max_length=MOST)] | None = None
    preview: bool = False


@dataclass(frozen=True, slots=True)
class ResendPreview:
    """What sending again would touch: how many (at most 10,000), whether more, a sample."""

    count: int
    is_more: bool
    sample: list[EventRow]


@dataclass(frozen=True, slots=True)
class Resent:
    """How many events are sent again; those that no endpoint takes are not counted."""

    resent: int
    is_more: bool


class EventActions:
    """What people do with events and their endpoints; changes are audited."""

    def __init__(self, settings: EventSettings, reader: Reader, writes: Engine) -> None:
        self._routes = routes_of(settings)
        self._endpoints = {one.name: one for one in settings.event_endpoints}
        self._reader = reader
        self._writes = writes

    def detail(self, event_id: str) -> EventDetail | None:
        """Return one event with its deliveries and attempts."""
        return self._reader.read(lambda connection: event_detail(connection, event_id))

    def preview(self, wanted: ResendRequest) -> ResendPreview:
        """Say what `many` would send again."""
        listing = self._listing(wanted)

        def read(connection: Connection) -> ResendPreview:
            count, page = listing.count(connection, MOST + 1), listing.page(connection, SAMPLE)
            return ResendPreview(min(count, MOST), count > MOST, page.rows)

        return self._reader.read(read)

    def one(self, event_id: str, actor: str) -> bool:
        """Send one event again; False where it is unknown or no endpoint takes it."""
        with self._writes.begin() as connection:
            done = resend(connection, [event_id], self._routes)
            if done:
                audit(connection, actor, ACTION, event_id, {})
        return bool(done)

    def many(
        self,
        wanted: ResendRequest,
        actor: str,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Resent:
        """Send all that the filter holds again, at most 10,000, a batch a transaction."""
        listing = self._listing(wanted)
        rows = self._reader.read(lambda connection: listing.page(connection, MOST + 1).rows)
        ids = [row.event_id for row in rows[:MOST]]
        total = 0
        for start in range(0, len(ids), BATCH):
            with self._writes.begin() as connection:
                total += resend(connection, ids[start : start + BATCH], self._routes)
            on_progress(total)
        with self._writes.begin() as connection:
            asked = wanted.model_dump(mode="json", exclude_defaults=True, exclude={"preview"})
            audit(connection, actor, ACTION, None, {"asked": asked, "resent": total})
        return Resent(total, len(rows) > MOST)

    def endpoints(self) -> list[EndpointRow]:
        """Return the endpoints that are set, each with how it stands."""
        return self._reader.read(
            lambda connection: [endpoint_row(connection, one) for one in self._endpoints.values()]
        )

    def turn(self, endpoint: str, actor: str, *, on: bool) -> EndpointRow | None:
        """Turn an endpoint on or off, and say how it stands; None for one that is not set here."""
        found = self._endpoints.get(endpoint)
        if found is None:
            return None
        if on:
            take_up(self._writes, endpoint)
        with self._writes.begin() as connection:
            if on:
                turn_on(connection, endpoint)
            else:
                turn_off(connection, endpoint, f"turned off by {actor}")
            audit(connection, actor, f"events {'on' if on else 'off'}", endpoint, {})
        if not on:
            put_off(self._writes, endpoint)
        with self._writes.begin() as connection:
            return endpoint_row(connection, found)

    def _listing(self, wanted: ResendRequest) -> Listing[EventRow]:
        filters = wanted.model_dump(exclude={"event_ids", "preview"}, exclude_defaults=True)
        if not wanted.event_ids and not filters:
            raise BadParameterError("body", "give event_ids or a filter: not every event at once")
        listing = events(wanted)
        if not wanted.event_ids:
            return listing
        return replace(
            listing, select=listing.select.where(EVENT_LOG.c.event_id.in_(wanted.event_ids))
        )
