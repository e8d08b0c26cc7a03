"""Parses single fields of an answer: the value if it is usable, else None."""

import math
from collections.abc import Callable
from typing import Any

from models.core.sanitize import LONGEST_TEXT, email_address, storable
from models.tables.base import longest
from models.tables.calendar import MeetingPerson
from workers.recall_api.meeting_secrets import is_secret, without_secrets

EMAIL_LIMIT = longest(MeetingPerson.email)
# Deeper than anything Recall documents; a limit against deeply nested JSON.
_DEEPEST = 12
_PASSWORDS = frozenset({"meeting_password", "password", "tk"})


def text(value: object, limit: int = LONGEST_TEXT) -> str | None:
    """Read a storable text of at most `limit` characters."""
    return storable(value, limit) if isinstance(value, str) else None


def flag(value: object) -> bool | None:
    """Read a boolean; no other value counts as one."""
    return value if isinstance(value, bool) else None


def email(value: object) -> str | None:
    """Read an email address, lower-cased, as it is looked up."""
    if not isinstance(value, str) or not value.strip():
        return None
    return storable(email_address(value), EMAIL_LIMIT)


def items(value: object) -> list[object]:
    """Read a list; empty for anything else."""
    return value if isinstance(value, list) else []


def objects(value: object) -> list[dict[str, Any]]:
    """Read the objects of a list; other items are left out."""
    return [item for item in items(value) if isinstance(item, dict)]


def json_object(value: object) -> dict[str, Any] | None:
    """Read an object that both databases can store, without meeting passwords."""
    # Nobody needs the password from here, and every reader could join the meeting.
    return _read(value, _DEEPEST, without_secrets, is_secret)


def metadata(value: object) -> dict[str, Any] | None:
    """Read an object of the operator's own: only keys that are plainly passwords are removed."""
    return _read(value, _DEEPEST, str, _PASSWORDS.__contains__)


_Text = Callable[[str], str]
_IsLeftOut = Callable[[str], bool]


def _read(
    value: object, depth: int, clean: _Text, is_left_out: _IsLeftOut
) -> dict[str, Any] | None:
    def read(item: Any, depth: int) -> Any:
        if isinstance(item, str):
            return storable(clean(item))
        # 1e999 is parsed as infinity, which no JSON column accepts.
        if isinstance(item, float):
            return item if math.isfinite(item) else None
        if isinstance(item, dict | list) and depth <= 0:
            return None
        if isinstance(item, dict):
            kept = ((key, part) for key, part in item.items() if not is_left_out(key))
            return {storable(key): read(part, depth - 1) for key, part in kept}
        if isinstance(item, list):
            return [read(part, depth - 1) for part in item]
        return item

    return read(value, depth) if isinstance(value, dict) else None
