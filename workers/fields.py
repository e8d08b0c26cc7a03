"""Single fields of an answer from outside: the value where it is usable, None where not."""

import math
from typing import Any

from models.outside import storable

EMAIL_LIMIT = 320
# Deeper than anything Recall documents; a bound, because what nests must not end the reader.
_DEEPEST = 12
# A meeting's password opens the meeting; nobody asks the link database for it.
_SECRETS = frozenset({"meeting_password", "password", "tk"})


def text(value: object, limit: int = 1000) -> str | None:
    """Read a storable text of at most `limit` characters."""
    return storable(value, limit) if isinstance(value, str) else None


def flag(value: object) -> bool | None:
    """Read a boolean; no other value counts as one."""
    return value if isinstance(value, bool) else None


def email(value: object) -> str | None:
    """Read an address, lower-cased, as it is looked up."""
    if not isinstance(value, str) or not value.strip():
        return None
    # People write their addresses in any case, and mean the same one.
    return storable(value.strip().lower(), EMAIL_LIMIT)


def items(value: object) -> list[object]:
    """Read a list; empty for anything else."""
    return value if isinstance(value, list) else []


def objects(value: object) -> list[dict[str, Any]]:
    """Read the objects of a list; whatever else is in it is left out."""
    return [item for item in items(value) if isinstance(item, dict)]


def json_object(value: object) -> dict[str, Any] | None:
    """Read an object whose every part both databases store; meeting passwords are left out."""
    return _storable_object(value, _DEEPEST) if isinstance(value, dict) else None


def _storable_object(value: dict[str, Any], depth: int) -> dict[str, Any]:
    return {
        storable(key): _storable_value(item, depth - 1)
        for key, item in value.items()
        if key not in _SECRETS
    }


def _storable_value(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return storable(value)
    # 1e999 reads as infinity, which no JSON column takes.
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list) and depth <= 0:
        return None
    if isinstance(value, dict):
        return _storable_object(value, depth)
    if isinstance(value, list):
        return [_storable_value(item, depth - 1) for item in value]
    return value
