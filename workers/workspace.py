"""Facts that every worker of the workspace shares in SQL: the circuit, and closed buckets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, Select, Table, delete, select

from models.base import db_now
from models.workspace import WorkspaceState
from workers.claims import LinkResult
from workers.errors import Endpoint, RecallError
from workers.limits import AUTHENTICATE, BOT_GET
from workers.retry import RetryDecision, Then, decide
from workers.upsert import upsert

CIRCUIT = "circuit"
CLOSED = "closed:"
# A calendar user's own bucket concerns few workers for a short time: Redis alone keeps it.
_SHARED_BUCKETS = {Endpoint.BOT: BOT_GET, Endpoint.AUTHENTICATE: AUTHENTICATE}
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
    left = {row.key: _seconds_left(row.value, row.now) for row in found}
    open_for = left.pop(CIRCUIT, None)
    return Workspace(
        open_for=max(open_for or 0.0, 0.0),
        on_probation=open_for is not None and open_for <= 0,
        closed={k.removeprefix(CLOSED): seconds for k, seconds in left.items() if seconds > 0},
    )


@cache
def _shared_facts() -> Select[str, dict[str, Any], datetime]:
    columns = (WorkspaceState.key, WorkspaceState.value, db_now().label("now"))
    is_shared = (WorkspaceState.key == CIRCUIT) | WorkspaceState.key.startswith(CLOSED)
    return select(*columns).where(is_shared)


def _seconds_left(value: dict[str, object], now: datetime) -> float:
    return (datetime.fromisoformat(str(value["until"])) - now).total_seconds()


def learn(connection: Connection, results: Iterable[LinkResult]) -> None:
    """Note what these results say of the whole workspace: refused, or limited."""
    for error, decision in errors_for_all(results):
        if decision.then is Then.OPEN_CIRCUIT:
            open_circuit(connection, error, decision.longest)
        else:
            close_bucket(connection, _SHARED_BUCKETS[error.endpoint], decision.longest)


def errors_for_all(
    results: Iterable[LinkResult],
) -> Iterator[tuple[RecallError, RetryDecision]]:
    """Yield what makes every bot wait, not the result's own alone."""
    for result in results:
        for error in filter(None, [result.failure, *(m.error for m in result.fetched)]):
            # Of the whole workspace: which try it was does not matter here.
            decision = decide(error, 1)
            is_closing = decision.then is Then.CLOSE_BUCKET and error.endpoint in _SHARED_BUCKETS
            if is_closing or decision.then is Then.OPEN_CIRCUIT:
                yield error, decision


def open_circuit(connection: Connection, error: RecallError, seconds: float) -> None:
    """Make the whole workspace wait: Recall refuses our key, our credit or our network."""
    # Shown to operators as it is: status, doctor and console say why everything waits.
    value = {"reason": error.reason, "endpoint": str(error.endpoint), "detail": error.detail}
    _write_until(connection, CIRCUIT, seconds, value)


def close_circuit(connection: Connection) -> None:
    """Note that Recall answers again."""
    connection.execute(delete(WorkspaceState).where(WorkspaceState.key == CIRCUIT))


def close_bucket(connection: Connection, bucket: str, seconds: float) -> None:
    """Let no worker draw from a bucket for so long, also where Redis is away."""
    _write_until(connection, CLOSED + bucket, seconds, {})


def _write_until(connection: Connection, key: str, seconds: float, value: dict[str, str]) -> None:
    # The database's clock: this is read on other dynos, whose clocks may differ.
    now = connection.scalar(select(db_now()))
    if now is None:
        raise RuntimeError("the database tells no time")
    until = (now + timedelta(seconds=seconds)).isoformat()
    row = {"key": key, "value": {**value, "until": until}, "updated_at": now}
    upsert(connection, _STATE, [row], update=("value", "updated_at"))
