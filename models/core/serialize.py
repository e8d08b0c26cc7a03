"""Rows as plain values that JSON knows."""

import dataclasses
from datetime import datetime
from typing import Any


def plain(value: Any) -> Any:
    """Return dataclasses as objects, times in ISO 8601, everything else as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    # With its offset: a reader in another zone must not have to guess.
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
