"""Places in the feed: given after the commit, by one at a time, so that no reader skips an event.

Ids and times are made before the commit, and a transaction may commit long after a later one. A
reader who goes by them would pass over an event that was not there yet. So a worker numbers what
is committed, under a lock that it holds until its own commit: what comes late gets a later number,
and no writer waits for another. (`xmin` would do without a worker, but not after a restore.)
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection, Table, bindparam, func, insert, select, text, update

from models.settings.events import EventSettings
from models.tables.base import db_now
from models.tables.event import Event, EventDelivery
from models.tables.workspace_state import ENDPOINT_OFF, EVENTS_NUMBERED, WorkspaceState
from workers.db.workspace_state import write_state

BATCH = 500
# Any number will do, as long as no other lock of this database uses it.
NUMBER_LOCK = 7_203_114_003
_EVENTS = cast("Table", Event.__table__)


@dataclass(frozen=True, slots=True)
class Route:
    """Which types of events one endpoint takes."""

    endpoint: str
    types: Collection[str]


def routes_of(settings: EventSettings) -> list[Route]:
    """Return what each endpoint takes."""
    return [Route(one.name, settings.events_types) for one in settings.event_endpoints]


def number_events(connection: Connection, routes: Sequence[Route] = ()) -> int:
    """Give what is committed its places, and make a delivery for each endpoint that takes it.

    Returns how many; 0 also where somebody else is at it, who may not see what was just committed.
    """
    if not _is_alone(connection):
        return 0
    unnumbered = select(Event.seq, Event.id, Event.type, Event.bot_id)
    unnumbered = unnumbered.where(text(Event.IS_UNNUMBERED)).order_by(Event.seq).limit(BATCH)
    rows = connection.execute(unnumbered).all()
    if rows:
        _number(connection, rows, routes)
    return len(rows)


def _is_alone(connection: Connection) -> bool:
    # SQLite has one writer at a time.
    if connection.dialect.name != "postgresql":
        return True
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(NUMBER_LOCK))))


def _number(connection: Connection, rows: Sequence[Any], routes: Sequence[Route]) -> None:
    last = _last_position(connection)
    places = {row.id: last + n for n, row in enumerate(rows, 1)}
    taken = [(row, route) for row in rows for route in routes if row.type in route.types]
    off = switched_off(connection, routes)
    waits = {row.id for row, route in taken if route.endpoint not in off}
    numbered = update(_EVENTS).where(_EVENTS.c.seq == bindparam("row"))
    connection.execute(
        numbered.values(position=bindparam("place"), state=bindparam("how")),
        [
            {"row": r.seq, "place": places[r.id], "how": "pending" if r.id in waits else "off"}
            for r in rows
        ],
    )
    if taken:
        made = insert(EventDelivery).values(next_try_at=db_now())
        connection.execute(made, [_delivery(row, route, places, off) for row, route in taken])
    write_state(connection, EVENTS_NUMBERED, {"position": last + len(rows)})


def _last_position(connection: Connection) -> int:
    # Noted apart from the rows: old ones are deleted, and a number is given once.
    noted = select(WorkspaceState.value).where(WorkspaceState.key == EVENTS_NUMBERED)
    value = connection.scalar(noted) or {}
    highest: int = connection.scalar(select(func.max(Event.position))) or 0
    return max(highest, int(value.get("position", 0)))


def switched_off(connection: Connection, routes: Sequence[Route]) -> set[str]:
    """Return which of these endpoints are turned off."""
    keys = {f"{ENDPOINT_OFF}{route.endpoint}" for route in routes}
    noted = select(WorkspaceState.key).where(WorkspaceState.key.in_(keys))
    # Locked: who turns one on meanwhile waits for what is kept for it here, and sends that too.
    found = connection.scalars(noted.with_for_update(read=True))
    return {key.removeprefix(ENDPOINT_OFF) for key in found}


def _delivery(
    row: Any, route: Route, places: Mapping[str, int], off: Collection[str]
) -> dict[str, Any]:
    return {
        "event_id": row.id,
        "endpoint": route.endpoint,
        "position": places[row.id],
        "bot_id": row.bot_id,
        "state": "off" if route.endpoint in off else "pending",
    }
