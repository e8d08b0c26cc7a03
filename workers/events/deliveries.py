"""Deliveries in the database: claimed by a lease, settled, and counted in their event."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Integer,
    Table,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningUpdate

from models.tables.base import db_now
from models.tables.event import Event, EventAttempt, EventDelivery
from workers.events.message import Message
from workers.events.retries import Tried, after

# One call, and what a batch has waited before it: see `EndpointSender`.
LEASE_SECONDS = 60.0
_EVENTS = cast("Table", Event.__table__)


@dataclass(frozen=True, slots=True)
class Claimed:
    """One delivery under our lease."""

    endpoint: str
    lease_token: str
    attempts: int
    message: Message


def claim(connection: Connection, endpoint: str, count: int) -> list[Claimed]:
    """Lease up to `count` deliveries that are due, in the order of the feed."""
    token = uuid4().hex
    given = {"to": endpoint, "most": count, "token": token, "seconds": LEASE_SECONDS}
    leased = {row.event_id: row.attempts for row in connection.execute(_lease(), given)}
    if not leased:
        return []
    columns = (Event.id, Event.type, Event.created_at, Event.bot_id, Event.meeting_id, Event.data)
    wanted = select(*columns).where(Event.id.in_(leased)).order_by(Event.position)
    return [
        Claimed(endpoint, token, leased[row.id], Message(*row))
        for row in connection.execute(wanted)
    ]


def _is_free(table: Any) -> ColumnElement[bool]:
    return or_(table.lease_until.is_(None), table.lease_until < db_now())


@cache
def _lease() -> ReturningUpdate[*tuple[Any, ...]]:
    this, other = EventDelivery, aliased(EventDelivery)
    # Another worker is just posting an earlier one of the same bot: this one comes after it.
    comes_first = exists().where(
        other.bot_id == this.bot_id,
        other.endpoint == this.endpoint,
        other.state == "pending",
        other.position < this.position,
        ~_is_free(other),
    )
    chosen = (
        select(this.event_id)
        .where(this.endpoint == bindparam("to"), text("event_deliveries.state = 'pending'"))
        .where(this.next_try_at <= db_now(), _is_free(this), ~comes_first)
        .order_by(this.next_try_at, this.position)
        .limit(bindparam("most", type_=Integer()))
        .with_for_update(skip_locked=True, of=this)
        .cte("chosen")
    )
    is_chosen = and_(this.endpoint == bindparam("to"), this.event_id.in_(select(chosen.c.event_id)))
    lease = {
        "lease_token": bindparam("token"),
        "lease_until": db_now(bindparam("seconds", type_=Float())),
    }
    return update(this).where(is_chosen).values(lease).returning(this.event_id, this.attempts)


def release(connection: Connection, claims: Sequence[Claimed]) -> None:
    """Hand deliveries back that were not tried."""
    if claims:
        ids, token = [one.message.event_id for one in claims], claims[0].lease_token
        ours = and_(EventDelivery.event_id.in_(ids), EventDelivery.lease_token == token)
        free = {"lease_token": None, "lease_until": None}
        connection.execute(update(EventDelivery).where(ours).values(free))


def settle(connection: Connection, claimed: Claimed, tried: Tried) -> bool:
    """Write what came of a try; False where the lease was lost, and another tries it as well."""
    state, wait = after(tried, claimed.attempts + 1)
    event_id = claimed.message.event_id
    ours = and_(
        EventDelivery.event_id == event_id,
        EventDelivery.endpoint == claimed.endpoint,
        EventDelivery.lease_token == claimed.lease_token,
    )
    done = update(EventDelivery).where(ours).values(
        state=state,
        attempts=EventDelivery.attempts + 1,
        next_try_at=None if wait is None else db_now(wait),
        lease_token=None,
        lease_until=None,
    )  # fmt: skip
    attempt = {"event_id": event_id, "endpoint": claimed.endpoint, "at": db_now()}
    # Also where the lease was lost: it was posted all the same.
    facts = {"status": tried.status, "ms": tried.ms, "error": tried.error}
    connection.execute(insert(EventAttempt).values(**attempt, **facts))
    if not connection.execute(done).rowcount:
        return False
    summarise(connection, [event_id])
    return True


def summarise(connection: Connection, event_ids: Sequence[str]) -> None:
    """Write into these events how their deliveries stand."""
    if event_ids:
        connection.execute(_summary().where(_EVENTS.c.id.in_(event_ids)))


def summarise_endpoint(connection: Connection, endpoint: str, state: str) -> None:
    """Do the same for all whose delivery to one endpoint is in a state."""
    theirs = select(EventDelivery.event_id).where(
        EventDelivery.endpoint == endpoint, EventDelivery.state == state
    )
    connection.execute(_summary().where(_EVENTS.c.id.in_(theirs)))


@cache
def _summary() -> Update:
    def of_all(value: Any, *conditions: ColumnElement[bool]) -> Any:
        theirs = select(value).where(EventDelivery.event_id == _EVENTS.c.id, *conditions)
        return theirs.correlate(_EVENTS).scalar_subquery()

    def any_is(state: str) -> ColumnElement[bool]:
        theirs = exists().where(EventDelivery.event_id == _EVENTS.c.id)
        return theirs.where(EventDelivery.state == state).correlate(_EVENTS)

    # The worst of them: what waits may still come, what failed is lost.
    states = [(any_is(state), state) for state in ("pending", "failed", "delivered")]
    return update(_EVENTS).values(
        state=case(*states, else_="off"),
        attempts=func.coalesce(of_all(func.sum(EventDelivery.attempts)), 0),
        next_try_at=of_all(func.min(EventDelivery.next_try_at)),
    )
