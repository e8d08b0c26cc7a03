"""Events as a list, newest first; or, behind a position, as the feed."""

from pydantic import Field
from sqlalchemy import select

from models.core.sanitize import uuid_range
from models.queries.filters import (
    BOT_ID_WORDS,
    BotId,
    EndpointName,
    ExternalId,
    FeedPosition,
    Filter,
    Time,
    Uuid,
)
from models.queries.pagination import Listing, Query
from models.queries.rows import EventRow
from models.queries.views import EVENT_LOG
from models.settings.events import EventType
from models.tables.event import EventDelivery, EventState

_EVENTS = EVENT_LOG.c
_EQUAL = ("type", "state", "meeting_id", "external_id")


class EventFilter(Filter):
    """Which events: by type, by how far they were delivered, by subject, endpoint or time."""

    type: EventType | None = Field(None, description="what happened, such as link.created")
    state: EventState | None = Field(
        None, description="whether it was delivered; off: no endpoint takes it"
    )
    endpoint: EndpointName | None = Field(None, description="only events for this endpoint")
    bot_id: BotId | None = Field(None, description=BOT_ID_WORDS)
    meeting_id: Uuid | None = Field(None, description="the calendar meeting's id")
    external_id: ExternalId | None = Field(None, description="the calendar user, as you named them")
    since: Time | None = Field(None, description="created_at at or after")
    until: Time | None = Field(None, description="created_at before")
    after: FeedPosition | None = Field(
        None, description="the feed: only later positions, the earliest first"
    )


def events(wanted: EventFilter) -> Listing[EventRow]:
    """List events, the latest first; behind a position in the order of positions."""
    query = _events(wanted)
    if wanted.after is None:
        return Listing(query, (_EVENTS.created_at, _EVENTS.event_id), EventRow)
    query = query.where(_EVENTS.position > wanted.after)
    return Listing(query, (_EVENTS.position,), EventRow, is_rising=True)


def events_where(event_id: str) -> Query:
    """Select one event."""
    return select(EVENT_LOG).where(_EVENTS.event_id == event_id)


def _events(wanted: EventFilter) -> Query:
    query: Query = select(EVENT_LOG)
    for name in _EQUAL:
        if (value := getattr(wanted, name)) is not None:
            query = query.where(_EVENTS[name] == value)
    if wanted.bot_id and (found := uuid_range(wanted.bot_id)):
        # The whole id as a range of one would keep an index from ordering by its next column.
        is_whole = found[0] == found[1]
        query = query.where(
            _EVENTS.bot_id == found[0] if is_whole else _EVENTS.bot_id.between(*found)
        )
    if wanted.endpoint is not None:
        taken = select(EventDelivery.event_id).where(EventDelivery.endpoint == wanted.endpoint)
        query = query.where(_EVENTS.event_id.in_(taken))
    if wanted.since is not None:
        query = query.where(_EVENTS.created_at >= wanted.since)
    return query if wanted.until is None else query.where(_EVENTS.created_at < wanted.until)
