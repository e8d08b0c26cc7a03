"""The circuit breaker of the workspace, as the workers stored it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from models.core.sanitize import utc_time
from models.tables.workspace_state import CIRCUIT, WorkspaceState

# The maximum wait: 15 minutes, plus a second so that nobody is early.
LONGEST_WAIT = 15 * 60 + 1.0


@dataclass(frozen=True, slots=True)
class Circuit:
    """The circuit breaker; `open_for` is the remaining time in seconds, 0 if it is closed."""

    open_for: float
    reason: str | None = None
    detail: str | None = None


def read_circuit(connection: Connection, now: datetime) -> Circuit:
    """Read the circuit breaker's state."""
    columns = (WorkspaceState.value, WorkspaceState.updated_at)
    stored = connection.execute(select(*columns).where(WorkspaceState.key == CIRCUIT))
    return circuit_of(stored.one_or_none(), now)


def circuit_of(row: Any, now: datetime) -> Circuit:
    """Return the circuit stored in a row of workspace_state; without a row it is closed."""
    if row is None:
        return Circuit(0.0)
    left = max(0.0, seconds_left(row.value, row.updated_at, now))
    return Circuit(left, row.value.get("reason"), row.value.get("detail"))


def seconds_left(value: Mapping[str, Any], written_at: datetime, now: datetime) -> float:
    """Return the seconds until a stored state ends; negative if it has ended.

    A state ends LONGEST_WAIT after it was written at the latest. Without an end it has ended.
    """
    until, longest = utc_time(value.get("until")), timedelta(seconds=LONGEST_WAIT)
    if until is None:
        return 0.0
    if until > now + longest:
        until = min(written_at, now) + longest
    return (until - now).total_seconds()
