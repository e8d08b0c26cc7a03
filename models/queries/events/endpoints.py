"""Endpoints of our own events: how each stands, and which get nothing since when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from models.queries.events.event_detail import count_waiting
from models.settings.events import EventEndpoint
from models.tables.event import EventAttempt, EventDelivery
from models.tables.workspace_state import ENDPOINT_FAILING, ENDPOINT_OFF, WorkspaceState


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """One endpoint that is set here: `state` is well, failing or off, and `since` when."""

    endpoint: str
    host: str
    state: str
    reason: str | None
    since: datetime | None
    waiting: int
    last_delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class TroubledEndpoint:
    """An endpoint that gets no events: turned off, or failing; since `seconds`, and why."""

    name: str
    is_off: bool
    seconds: float
    reason: str


def troubled_endpoints(facts: Mapping[str, Any], now: datetime) -> list[TroubledEndpoint]:
    """Return them by name; one that is off is not also failing."""
    found: dict[str, TroubledEndpoint] = {}
    for prefix, word, is_off in (
        (ENDPOINT_FAILING, "error", False),
        (ENDPOINT_OFF, "reason", True),
    ):
        for key, fact in facts.items():
            if key.startswith(prefix):
                name, why = key.removeprefix(prefix), str(fact.value.get(word, ""))
                seconds = max(0.0, (now - fact.updated_at).total_seconds())
                found[name] = TroubledEndpoint(name, is_off, seconds, why)
    return [found[name] for name in sorted(found)]


def endpoint_row(connection: Connection, endpoint: EventEndpoint) -> EndpointRow:
    """Read how one endpoint stands."""
    state, reason, since = _standing(connection, endpoint.name)
    return EndpointRow(
        endpoint=endpoint.name,
        host=endpoint.host,
        state=state,
        reason=reason,
        since=since,
        waiting=count_waiting(connection, endpoint.name),
        last_delivered_at=_last_delivered_at(connection, endpoint.name),
    )


def _standing(connection: Connection, name: str) -> tuple[str, str | None, datetime | None]:
    states = {f"{ENDPOINT_OFF}{name}": "off", f"{ENDPOINT_FAILING}{name}": "failing"}
    state = WorkspaceState
    noted = select(state.key, state.value, state.updated_at).where(state.key.in_(states))
    found = {states[row.key]: row for row in connection.execute(noted)}
    # One that is off is not also failing.
    for word, row in sorted(found.items(), reverse=True):
        return word, row.value.get("reason") or row.value.get("error"), row.updated_at
    return "well", None, None


def _last_delivered_at(connection: Connection, name: str) -> datetime | None:
    # Of the newest event that it has, by an index: its attempts may be many, and all failed.
    delivery, attempt = EventDelivery, EventAttempt
    has = (delivery.endpoint == name, delivery.state == "delivered")
    newest = select(func.max(delivery.position)).where(*has).scalar_subquery()
    taken = (attempt.endpoint == name, attempt.error.is_(None), attempt.status.between(200, 299))
    when = (
        select(func.max(attempt.at))
        .join(delivery, delivery.event_id == attempt.event_id)
        .where(*has, delivery.position == newest, *taken)
    )
    return connection.scalar(when)
