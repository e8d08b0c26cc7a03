"""Writing events: in the caller's transaction, so that there is none without its change."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, insert

from models.core.serialize import plain
from models.settings.events import EventType
from models.tables.base import db_now
from models.tables.event import Event


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom an event is about: what it is found by, and erased by."""

    bot_id: str | None = None
    meeting_id: str | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class NewEvent:
    """One event to write."""

    type: EventType
    subject: Subject
    data: Mapping[str, Any]


def write_event(
    connection: Connection, kind: EventType, subject: Subject, data: Mapping[str, Any]
) -> None:
    """Write one event; the caller's commit makes it one."""
    write_events(connection, [NewEvent(kind, subject, data)])


def write_events(connection: Connection, events: Sequence[NewEvent]) -> None:
    """Write events, in this order."""
    # An empty executemany would be read as one row of defaults.
    if events:
        connection.execute(_insert(), [_row(event) for event in events])


@cache
def _insert() -> Insert:
    return insert(Event).values(created_at=db_now())


def _row(event: NewEvent) -> dict[str, Any]:
    data = plain(dict(event.data))
    return {"id": _new_id(), "type": event.type, "data": data, **asdict(event.subject)}


def _new_id() -> str:
    # Ids grow with time, so that an index takes them at its end; the feed goes by `position`.
    return f"evt_{time.time_ns() // 1000:014x}{secrets.token_hex(8)}"
