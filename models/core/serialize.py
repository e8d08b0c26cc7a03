"""Converts rows into values that JSON can represent."""

import dataclasses
from datetime import datetime
from typing import Any


def plain(value: Any) -> Any:
    """Convert dataclasses to dicts and times to ISO 8601, recursively."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    # With the offset, because readers are in other time zones.
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
