"""State that all workers share in the database: the circuit, and closed rate limits."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, Select, Table, delete, select

from models.queries.circuit import seconds_left
from models.tables.base import db_now
from models.tables.workspace_state import CIRCUIT, CLOSED, WorkspaceState
from workers.db.upsert import upsert
from workers.db.workspace_state import write_state
from workers.recall_api.errors import RecallError

_STATE = cast("Table", WorkspaceState.__table__)


@dataclass(frozen=True, slots=True)
class Workspace:
    """Seconds for which the circuit stays open, and for which each bucket stays closed.

    When the wait of an open circuit is over, it is `on_probation`: one bot tries first.
    """

    open_for: float = 0.0
    on_probation: bool = False
    closed: dict[str, float] = field(default_factory=dict)


def read_workspace(connection: Connection) -> Workspace:
    """Read the current state, by the database's clock."""
    found = connection.execute(_shared_facts()).all()
    left = {row.key: seconds_left(row.value, row.updated_at, row.now) for row in found}
    open_for = left.pop(CIRCUIT, None)
    return Workspace(
        open_for=max(open_for or 0.0, 0.0),
        on_probation=open_for is not None and open_for <= 0,
        closed={k.removeprefix(CLOSED): seconds for k, seconds in left.items() if seconds > 0},
    )


@cache
def _shared_facts() -> Select[str, dict[str, Any], datetime, datetime]:
    noted = (WorkspaceState.key, WorkspaceState.value, WorkspaceState.updated_at)
    columns = (*noted, db_now().label("now"))
    is_shared = (WorkspaceState.key == CIRCUIT) | WorkspaceState.key.startswith(CLOSED)
    return select(*columns).where(is_shared)


def open_circuit(connection: Connection, error: RecallError, seconds: float) -> None:
    """Open the circuit: Recall refuses our key, our credit or our address."""
    # Shown to operators in status, doctor and console.
    value = {"reason": error.reason, "endpoint": str(error.endpoint), "detail": error.detail}
    _write_until(connection, CIRCUIT, seconds, value)


def close_circuit(connection: Connection) -> None:
    """Close the circuit: Recall answers again."""
    connection.execute(delete(WorkspaceState).where(WorkspaceState.key == CIRCUIT))


def close_bucket(connection: Connection, bucket: str, seconds: float) -> None:
    """Close a bucket for all workers for so long, even while Redis is away.

    The longest time counts: a second 429 never reopens a bucket earlier than the first.
    """
    key = CLOSED + bucket
    now = _database_time(connection)
    # Inserted first, so that there is a row to lock: of two workers that close the bucket at once
    # the second sees what the first wrote.
    upsert(connection, _STATE, [{"key": key, "value": {}, "updated_at": now}])
    kept = select(WorkspaceState.value, WorkspaceState.updated_at)
    row = connection.execute(kept.where(WorkspaceState.key == key).with_for_update()).one()
    if seconds_left(row.value, row.updated_at, now) < seconds:
        _write_until(connection, key, seconds, {})


def _write_until(connection: Connection, key: str, seconds: float, value: dict[str, str]) -> None:
    now = _database_time(connection)
    until = now + timedelta(seconds=seconds)
    write_state(connection, key, {**value, "until": until.isoformat()}, now)


def _database_time(connection: Connection) -> datetime:
    # The database's clock, since other dynos, whose clocks may differ, read this.
    now: datetime = connection.execute(select(db_now())).scalar_one()
    return now
