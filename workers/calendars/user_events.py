"""Writes events for users who connected, disconnected or are gone, as it is stored."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, select

from models.tables.calendar import CalendarUser
from workers.outbox.write import NewEvent, Subject, write_events

_PLATFORMS = {"google": "google_connected", "microsoft": "microsoft_connected"}

Row = Mapping[str, Any]


@contextmanager
def watch_users(connection: Connection, user_ids: Collection[str]) -> Iterator[None]:
    """Write an event for each connection of these users that the block changes."""
    before = _rows(connection, user_ids)
    yield
    after = _rows(connection, user_ids)
    write_events(
        connection, [event for key in sorted(after) for event in _events(before, after[key])]
    )


def _rows(connection: Connection, user_ids: Collection[str]) -> dict[str, Row]:
    columns = [getattr(CalendarUser, name) for name in _PLATFORMS.values()]
    wanted = select(CalendarUser.id, CalendarUser.external_id, CalendarUser.gone_at, *columns)
    # In the order of their ids, and locked: what another list changes is another's to report.
    wanted = wanted.where(CalendarUser.id.in_(user_ids)).order_by(CalendarUser.id)
    found: Any = connection.execute(wanted.with_for_update()).mappings()
    return {row["id"]: row for row in found}


def _events(before: Mapping[str, Row], row: Row) -> Iterator[NewEvent]:
    old = before.get(row["id"])
    for platform, column in _PLATFORMS.items():
        was = False if old is None else old[column]
        # Unknown is no news: an older release stored the user without it.
        if was is None or row[column] is None or was == row[column]:
            continue
        kind: Any = "calendar_user.connected" if row[column] else "calendar_user.disconnected"
        yield _event(kind, row, platform)
    if old is not None and old["gone_at"] is None and row["gone_at"] is not None:
        yield _event("calendar_user.gone", row, None)


def _event(kind: Any, row: Row, platform: str | None) -> NewEvent:
    data = {
        "calendar_user_id": row["id"],
        "external_id": row["external_id"],
        "platform": platform,
    }
    return NewEvent(kind, Subject(external_id=row["external_id"]), data)
