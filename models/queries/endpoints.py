"""Endpoints of our own events: which are off, and which take nothing since when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.tables.workspace_state import ENDPOINT_FAILING, ENDPOINT_OFF


@dataclass(frozen=True, slots=True)
class TroubledEndpoint:
    """An endpoint that gets no events: turned off, or failing; since `seconds`, and why."""

    name: str
    is_off: bool
    seconds: float
    reason: str


def troubled_endpoints(facts: Mapping[str, Any], now: datetime) -> list[TroubledEndpoint]:
    """Return them by name; one that is off is not also failing."""
    found: dict[str, TroubledEndpoint] = {}
    for prefix, word, is_off in (
        (ENDPOINT_FAILING, "error", False),
        (ENDPOINT_OFF, "reason", True),
    ):
        for key, fact in facts.items():
            if key.startswith(prefix):
                name, why = key.removeprefix(prefix), str(fact.value.get(word, ""))
                seconds = max(0.0, (now - fact.updated_at).total_seconds())
                found[name] = TroubledEndpoint(name, is_off, seconds, why)
    return [found[name] for name in sorted(found)]
