"""A bot's own `status_changes`, as its body and List Bots have them."""

from collections.abc import Iterator
from datetime import datetime

from models.core.bot_status import LONGEST_WORD, MAX_FUTURE, Status, is_code
from models.core.sanitize import utc_time
from workers.recall_api import parsing


def read_statuses(value: object, now: datetime) -> tuple[Status, ...]:
    """Read the usable statuses; others are left out."""
    return tuple(_statuses(value, now + MAX_FUTURE))


def _statuses(value: object, latest: datetime) -> Iterator[Status]:
    for item in parsing.objects(value):
        # The specification says strings, but real answers have nulls: those are left out.
        code, at = item.get("code"), utc_time(item.get("created_at"))
        if isinstance(code, str) and is_code(code) and at is not None and at <= latest:
            sub_code = parsing.text(item.get("sub_code")) or None
            yield Status(
                code,
                at,
                sub_code[:LONGEST_WORD] if sub_code else None,
                parsing.text(item.get("message")) or None,
            )
