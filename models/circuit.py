"""Whether Recall refuses the whole workspace, as the workers noted it for everybody."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from models.workspace import WorkspaceState

CIRCUIT = "circuit"


@dataclass(frozen=True, slots=True)
class Circuit:
    """Whether Recall refuses the whole workspace; `open_for` in seconds, 0 when it is closed."""

    open_for: float
    reason: str | None = None
    detail: str | None = None


def read_circuit(connection: Connection, now: datetime) -> Circuit:
    """Read how the circuit stands."""
    noted = select(WorkspaceState.value).where(WorkspaceState.key == CIRCUIT)
    return circuit_of(connection.scalar(noted), now)


def circuit_of(value: Mapping[str, Any] | None, now: datetime) -> Circuit:
    """Return the circuit that a note tells of; none is a closed one."""
    if value is None:
        return Circuit(0.0)
    return Circuit(max(0.0, seconds_left(value, now)), value.get("reason"), value.get("detail"))


def seconds_left(value: Mapping[str, Any], now: datetime) -> float:
    """Return how long a note of the workspace still holds; negative when it is over."""
    return (datetime.fromisoformat(value["until"]) - now).total_seconds()
