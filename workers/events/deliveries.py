"""Deliveries in the database: claimed by a lease, settled, and counted in their event."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from uuid import uuid4

from sqlalchemy import (
    BindParameter,
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
from models.tables.workspace_state import ENDPOINT_OFF, WorkspaceState
from workers.events.message import Message
from workers.events.retries import Tried, after

# One call, and what a batch has waited before it: see `EndpointSender`.
LEASE_SECONDS = 60.0
# So many deliveries change their state in one transaction.
MOVE_BATCH = 500
# The worst of an event's: what waits may still come, what failed is lost.
_RANKS = {"pending": 0, "failed": 1, "delivered": 2}
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
    given["off"] = f"{ENDPOINT_OFF}{endpoint}"
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
    # Its deliveries may wait all the same: those that are numbered while it is turned off.
    is_off = exists().where(WorkspaceState.key == bindparam("off"))
    chosen = (
        select(this.event_id)
        .where(this.endpoint == bindparam("to"), text("event_deliveries.state = 'pending'"))
        .where(this.next_try_at <= db_now(), _is_free(this), ~comes_first, ~is_off)
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


def move(
    connection: Connection, endpoint: str, change: tuple[str, str], behind: int = 0
) -> int | None:
    """Change the state of an endpoint's deliveries, a batch by position; the last, if any."""
    old, new = change
    theirs = and_(EventDelivery.endpoint == endpoint, EventDelivery.state == old)
    some = select(EventDelivery.event_id, EventDelivery.position).where(theirs)
    some = some.where(EventDelivery.position > behind).order_by(EventDelivery.position)
    found = connection.execute(some.limit(MOVE_BATCH)).all()
    if not found:
        return None
    ids = [row.event_id for row in found]
    moved = update(EventDelivery).where(theirs, EventDelivery.event_id.in_(ids))
    anew = {"attempts": 0, "next_try_at": db_now()} if new == "pending" else {"next_try_at": None}
    connection.execute(moved.values(state=new, lease_token=None, lease_until=None, **anew))
    summarise(connection, ids)
    return int(found[-1].position)


def summarise(connection: Connection, event_ids: Sequence[str]) -> None:
    """Write into these events how their deliveries stand."""
    if event_ids:
        connection.execute(_summary(), {"ids": list(event_ids)})


@cache
def _summary() -> Update:
    # One pass over their deliveries by the key. A subquery for each event and state is quadratic
    # where the planner looks it up by the state.
    delivery = EventDelivery
    ids: BindParameter[Any] = bindparam("ids", expanding=True)
    worst = func.min(case(_RANKS, value=delivery.state, else_=len(_RANKS)))
    of_each = (
        select(
            delivery.event_id,
            worst.label("worst"),
            func.sum(delivery.attempts).label("attempts"),
            func.min(delivery.next_try_at).label("next_try_at"),
        )
        .where(delivery.event_id.in_(ids))
        .group_by(delivery.event_id)
        .subquery()
    )
    states = {rank: state for state, rank in _RANKS.items()}
    return update(_EVENTS).where(_EVENTS.c.id == of_each.c.event_id, _EVENTS.c.id.in_(ids)).values(
        state=case(states, value=of_each.c.worst, else_="off"),
        attempts=of_each.c.attempts,
        next_try_at=of_each.c.next_try_at,
    )  # fmt: skip
