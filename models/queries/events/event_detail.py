"""One event with each of its deliveries and attempts, and the endpoints that there are."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from models.queries.events.event_list import events_where
from models.queries.rows import EventRow
from models.tables.event import EventAttempt, EventDelivery

MOST = 200
# Whether a hundred or a million wait, somebody has to look.
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class EventDeliveryRow:
    """How one event stands at one endpoint."""

    endpoint: str
    state: str
    attempts: int
    next_try_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventAttemptRow:
    """One attempt to deliver an event."""

    endpoint: str
    at: datetime
    status: int | None
    ms: int
    error: str | None


@dataclass(frozen=True, slots=True)
class EventDetail:
    """One event, with its deliveries and its latest 200 attempts."""

    event: EventRow
    deliveries: list[EventDeliveryRow]
    attempts: list[EventAttemptRow]


def event_detail(connection: Connection, event_id: str) -> EventDetail | None:
    """Read one event; None for one that is unknown or has no place in the feed yet."""
    found = connection.execute(events_where(event_id=event_id)).one_or_none()
    if found is None:
        return None
    delivery, attempt = EventDelivery, EventAttempt
    deliveries = select(
        delivery.endpoint, delivery.state, delivery.attempts, delivery.next_try_at
    ).where(delivery.event_id == event_id)
    attempts = select(
        attempt.endpoint, attempt.at, attempt.status, attempt.ms, attempt.error
    ).where(attempt.event_id == event_id)
    latest = connection.execute(attempts.order_by(attempt.id.desc()).limit(MOST))
    return EventDetail(
        EventRow(*found),
        [EventDeliveryRow(*r) for r in connection.execute(deliveries.order_by(delivery.endpoint))],
        [EventAttemptRow(*row) for row in latest][::-1],
    )


def count_waiting(connection: Connection, endpoint: str) -> int:
    """Count the events that wait for an endpoint, at most 10,000."""
    waits = (EventDelivery.endpoint == endpoint, EventDelivery.state.in_(("pending", "off")))
    some = select(EventDelivery.event_id).where(*waits).limit(MOST_COUNTED)
    return connection.scalar(select(func.count()).select_from(some.subquery())) or 0
