"""Facts that every worker of the workspace shares in SQL: the circuit, and closed buckets."""

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
    """How the workspace stands: seconds until the circuit closes again, and each closed bucket.

    A circuit that was opened and whose wait is over is `on_probation`: one bot tries it first.
    """

    open_for: float = 0.0
    on_probation: bool = False
    closed: dict[str, float] = field(default_factory=dict)


def read_workspace(connection: Connection) -> Workspace:
    """Read how the workspace stands now, by the database's clock."""
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
    """Make the whole workspace wait: Recall refuses our key, our credit or our network."""
    # Shown to operators as it is: status, doctor and console say why everything waits.
    value = {"reason": error.reason, "endpoint": str(error.endpoint), "detail": error.detail}
    _write_until(connection, CIRCUIT, seconds, value)


def close_circuit(connection: Connection) -> None:
    """Note that Recall answers again."""
    connection.execute(delete(WorkspaceState).where(WorkspaceState.key == CIRCUIT))


def close_bucket(connection: Connection, bucket: str, seconds: float) -> None:
    """Let no worker draw from a bucket for so long, also where Redis is away.

    The longest word stands: a second 429 never opens earlier what the first one closed.
    """
    key = CLOSED + bucket
    now = _database_time(connection)
    # The row is made first, so that there is something to lock: of two that close it at once the
    # second sees what the first one wrote.
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
    # The database's clock: this is read on other dynos, whose clocks may differ.
    now: datetime = connection.execute(select(db_now())).scalar_one()
    return now
