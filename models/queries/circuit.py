"""Whether Recall refuses the whole workspace, as the workers noted it for everybody."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from models.core.sanitize import utc_time
from models.tables.workspace_state import CIRCUIT, WorkspaceState

# The longest that anybody may be told to wait: 15 minutes, and a second so as not to be early.
LONGEST_WAIT = 15 * 60 + 1.0


@dataclass(frozen=True, slots=True)
class Circuit:
    """Whether Recall refuses the whole workspace; `open_for` in seconds, 0 when it is closed."""

    open_for: float
    reason: str | None = None
    detail: str | None = None


def read_circuit(connection: Connection, now: datetime) -> Circuit:
    """Read how the circuit stands."""
    columns = (WorkspaceState.value, WorkspaceState.updated_at)
    noted = connection.execute(select(*columns).where(WorkspaceState.key == CIRCUIT))
    return circuit_of(noted.one_or_none(), now)


def circuit_of(noted: Any, now: datetime) -> Circuit:
    """Return the circuit that a row of workspace_state tells of; None is a closed one."""
    if noted is None:
        return Circuit(0.0)
    left = max(0.0, seconds_left(noted.value, noted.updated_at, now))
    return Circuit(left, noted.value.get("reason"), noted.value.get("detail"))


def seconds_left(value: Mapping[str, Any], written_at: datetime, now: datetime) -> float:
    """Return how long a note of the workspace still holds; negative when it is over.

    One that is absurdly far holds for LONGEST_WAIT from when it was written, and one that names no
    time is over.
    """
    until, longest = utc_time(value.get("until")), timedelta(seconds=LONGEST_WAIT)
    if until is None:
        return 0.0
    if until > now + longest:
        until = min(written_at, now) + longest
    return (until - now).total_seconds()
