"""Endpoints: turned off by 410 or by hand, turned on again, noted as failing, and sent again."""

from collections.abc import Collection, Sequence
from typing import cast

from sqlalchemy import Connection, Engine, Table, delete, or_, select

from models.tables.base import db_now
from models.tables.event import Event, EventDelivery
from models.tables.workspace_state import ENDPOINT_FAILING, ENDPOINT_OFF, WorkspaceState
from workers.db.upsert import insert_into
from workers.db.workspace_state import write_state
from workers.events.deliveries import move, summarise
from workers.outbox.numbering import Route, switched_off

_STATE = cast("Table", WorkspaceState.__table__)
_DELIVERIES = cast("Table", EventDelivery.__table__)
_KEEP, _SEND = ("pending", "off"), ("off", "pending")


def turn_off(connection: Connection, endpoint: str, reason: str) -> None:
    """Send nothing to an endpoint until it is turned on; `put_off` then keeps what waits."""
    write_state(connection, f"{ENDPOINT_OFF}{endpoint}", {"reason": reason})


def put_off(engine: Engine, endpoint: str) -> None:
    """Keep what waits for an endpoint that is off, a batch a transaction."""
    is_off = select(_STATE.c.key).where(_STATE.c.key == f"{ENDPOINT_OFF}{endpoint}")
    last: int | None = 0
    while last is not None:
        with engine.begin() as connection:
            # Locked: who turns it on meanwhile finds the whole batch kept, and sends it.
            if not connection.scalar(is_off.with_for_update()):
                return
            last = move(connection, endpoint, _KEEP, last)


def take_up(engine: Engine, endpoint: str) -> None:
    """Let what was kept wait again, a batch a transaction; `turn_on` then lets it be sent."""
    last: int | None = 0
    while last is not None:
        with engine.begin() as connection:
            last = move(connection, endpoint, _SEND, last)


def turn_on(connection: Connection, endpoint: str) -> None:
    """Send to an endpoint again, what was kept meanwhile first."""
    for kind in (ENDPOINT_OFF, ENDPOINT_FAILING):
        connection.execute(delete(_STATE).where(_STATE.c.key == f"{kind}{endpoint}"))
    _move_all(connection, endpoint, _SEND)


def _move_all(connection: Connection, endpoint: str, change: tuple[str, str]) -> None:
    last: int | None = 0
    while last is not None:
        last = move(connection, endpoint, change, last)


def note_failing(connection: Connection, endpoint: str, error: str) -> None:
    """Note since when an endpoint takes nothing, and the first error."""
    row = {"key": f"{ENDPOINT_FAILING}{endpoint}", "value": {"error": error}}
    statement = insert_into(connection, _STATE).values(**row, updated_at=db_now())
    connection.execute(statement.on_conflict_do_nothing(index_elements=["key"]))


def note_well(connection: Connection, endpoint: str) -> None:
    """Forget that an endpoint was failing."""
    connection.execute(delete(_STATE).where(_STATE.c.key == f"{ENDPOINT_FAILING}{endpoint}"))


def forget_others(connection: Connection, endpoints: Collection[str]) -> None:
    """Stop waiting for endpoints that are set no more."""
    keys = [f"{kind}{name}" for kind in (ENDPOINT_OFF, ENDPOINT_FAILING) for name in endpoints]
    ours = or_(*(_STATE.c.key.startswith(kind) for kind in (ENDPOINT_OFF, ENDPOINT_FAILING)))
    connection.execute(delete(_STATE).where(ours, _STATE.c.key.not_in(keys)))
    waiting = select(EventDelivery.endpoint).where(EventDelivery.state == "pending").distinct()
    for name in connection.scalars(waiting).all():
        if name not in endpoints:
            _move_all(connection, name, _KEEP)


def resend(connection: Connection, event_ids: Sequence[str], routes: Sequence[Route]) -> int:
    """Have these events delivered anew, to each endpoint that takes them; returns how many."""
    columns = (Event.id, Event.type, Event.bot_id, Event.position)
    found = select(*columns).where(Event.id.in_(event_ids), Event.position.is_not(None))
    rows = connection.execute(found.order_by(Event.position)).all()
    off = switched_off(connection, routes)
    anew = [
        {
            "event_id": row.id,
            "endpoint": route.endpoint,
            "position": row.position,
            "bot_id": row.bot_id,
            "state": "off" if route.endpoint in off else "pending",
        }
        for row in rows
        for route in routes
        if row.type in route.types
    ]
    if anew:
        now = {"next_try_at": db_now(), "attempts": 0, "lease_token": None, "lease_until": None}
        statement = insert_into(connection, _DELIVERIES)
        again = now | {"state": statement.excluded.state}
        statement = statement.values(next_try_at=db_now(), attempts=0)
        keys = ["event_id", "endpoint"]
        statement = statement.on_conflict_do_update(index_elements=keys, set_=again)
        connection.execute(statement, anew)
    summarise(connection, [row.id for row in rows])
    return len({row["event_id"] for row in anew})
