"""Endpoints: turned off by 410 or by hand, turned on again, noted as failing, and sent again."""

from collections.abc import Collection, Sequence
from typing import cast

from sqlalchemy import Connection, Table, Update, delete, or_, select, update

from models.tables.base import db_now
from models.tables.event import Event, EventDelivery
from models.tables.workspace_state import ENDPOINT_FAILING, ENDPOINT_OFF, WorkspaceState
from workers.db.upsert import insert_into
from workers.db.workspace_state import write_state
from workers.events.deliveries import summarise, summarise_endpoint
from workers.outbox.numbering import Route, switched_off

_STATE = cast("Table", WorkspaceState.__table__)
_DELIVERIES = cast("Table", EventDelivery.__table__)


def turn_off(connection: Connection, endpoint: str, reason: str) -> None:
    """Send nothing to an endpoint until it is turned on; what waits for it is kept."""
    write_state(connection, f"{ENDPOINT_OFF}{endpoint}", {"reason": reason})
    waiting = _of(endpoint, "pending")
    off = {"state": "off", "next_try_at": None, "lease_token": None, "lease_until": None}
    connection.execute(waiting.values(off))
    summarise_endpoint(connection, endpoint, "off")


def turn_on(connection: Connection, endpoint: str) -> None:
    """Send to an endpoint again, what was kept meanwhile first."""
    for kind in (ENDPOINT_OFF, ENDPOINT_FAILING):
        connection.execute(delete(_STATE).where(_STATE.c.key == f"{kind}{endpoint}"))
    again = {"state": "pending", "next_try_at": db_now(), "attempts": 0}
    connection.execute(_of(endpoint, "off").values(again))
    summarise_endpoint(connection, endpoint, "pending")


def _of(endpoint: str, state: str) -> Update:
    of_it = (_DELIVERIES.c.endpoint == endpoint) & (_DELIVERIES.c.state == state)
    return update(_DELIVERIES).where(of_it)


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
            connection.execute(_of(name, "pending").values(state="off", next_try_at=None))
            summarise_endpoint(connection, name, "off")


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
