"""Writes events for users who connected, disconnected or are gone, as it is stored."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from models.tables.calendar import CalendarUser
from workers.outbox.write import NewEvent, Subject, write_events

_PLATFORMS = {"google": "google_connected", "microsoft": "microsoft_connected"}

Row = Mapping[str, Any]


@contextmanager
def watch_users(
    connection: Connection, user_ids: Collection[str], list_at: datetime | None = None
) -> Iterator[None]:
    """Write an event for each connection of these users that the block changes.

    `list_at` is the time of the list that the block keeps; its users have rows already.
    """
    before = _rows(connection, user_ids)
    is_first = list_at is None or _is_first(connection, list_at)
    yield
    events = [
        event
        for key, row in _rows(connection, user_ids).items()
        for event in _events(before[key], row, is_first=is_first)
    ]
    write_events(connection, events)


def _is_first(connection: Connection, list_at: datetime) -> bool:
    kept = select(CalendarUser.id).where(CalendarUser.seen_at < list_at).limit(1)
    return connection.scalar(kept) is None


def _rows(connection: Connection, user_ids: Collection[str]) -> dict[str, Row]:
    names = ("id", "external_id", "seen_at", "gone_at", *_PLATFORMS.values())
    wanted = select(*(getattr(CalendarUser, name) for name in names))
    # In the order of their ids, and locked: what another list changes is another's to report.
    wanted = wanted.where(CalendarUser.id.in_(user_ids)).order_by(CalendarUser.id)
    found: Any = connection.execute(wanted.with_for_update()).mappings()
    return {row["id"]: row for row in found}


def _events(old: Row, row: Row, *, is_first: bool) -> Iterator[NewEvent]:
    for platform, column in _PLATFORMS.items():
        was, now = _was_connected(old, column, is_first=is_first), row[column]
        if row["gone_at"] is not None or was is None or now is None or was == now:
            continue
        kind: Any = "calendar_user.connected" if now else "calendar_user.disconnected"
        yield _event(kind, row, platform)
    if old["gone_at"] is None and row["gone_at"] is not None:
        yield _event("calendar_user.gone", row, None)


def _was_connected(old: Row, column: str, *, is_first: bool) -> bool | None:
    # Who was gone returns with no connection: the event of their going has ended each.
    if old["gone_at"] is not None:
        return False
    # A link has named the user before any list did. The first list says so of everybody whom an
    # older release has linked: no news. What an older release stored of a list is none either.
    if old[column] is None and old["seen_at"] is None:
        return None if is_first else False
    was: bool | None = old[column]
    return was


def _event(kind: Any, row: Row, platform: str | None) -> NewEvent:
    data = {
        "calendar_user_id": row["id"],
        "external_id": row["external_id"],
        "platform": platform,
    }
    return NewEvent(kind, Subject(external_id=row["external_id"]), data)
