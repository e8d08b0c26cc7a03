"""Exports everything stored about a calendar user, table by table.

Tokens are not exported, only when they expire.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table, or_, select
from sqlalchemy.orm import DeclarativeBase

from models.core.title_words import TITLE_COLUMNS
from models.tables.audit import Audit
from models.tables.bot import Bot, BotStatus
from models.tables.calendar import (
    CalendarMeeting,
    CalendarToken,
    CalendarUser,
    ErasedUser,
    MeetingPerson,
)
from models.tables.calendar_finding import CalendarFinding
from models.tables.delivery import Delivery
from models.tables.event import Event
from models.tables.link import Link, LinkAttempt
from models.tables.missed_meeting import MissedMeeting
from models.tables.recording import Recording
from models.tables.rejection import Rejection
from workers.privacy.erase import Holdings, batches, rejections_naming
from workers.privacy.tombstones import external_id_hash, pseudonym

Row = dict[str, Any]
Section = tuple[str, Iterator[Row]]
# Technical columns that say nothing about the person, and copies of other columns.
_LEFT_OUT = frozenset(
    {"headers", "ciphertext", "fingerprint", "external_id_hash", "lease_token"}
    | ({*TITLE_COLUMNS} - {"title"})
)


def sections(connection: Connection, held: Holdings) -> Iterator[Section]:
    """Yield each table's name with its rows. Read the rows before the next section."""

    def of(table: type[DeclarativeBase], column: Any, keys: Sequence[Any]) -> Iterator[Row]:
        return _rows(connection, table, column.in_, keys)

    # By pseudonym too, since an erased user has rows under it.
    names = (held.external_id, pseudonym(held.external_id))
    key = [external_id_hash(held.external_id)]
    yield "calendar_users", of(CalendarUser, CalendarUser.external_id, names)
    yield "links", of(Link, Link.external_id, names)
    yield "calendar_meetings", of(CalendarMeeting, CalendarMeeting.id, held.meeting_ids)
    yield "meeting_people", of(MeetingPerson, MeetingPerson.meeting_id, held.meeting_ids)
    yield "others_copies", _naming_meetings(connection, held)
    yield "bots", of(Bot, Bot.id, held.bot_ids)
    yield "bot_statuses", of(BotStatus, BotStatus.bot_id, held.bot_ids)
    yield "recordings", of(Recording, Recording.bot_id, held.bot_ids)
    yield "deliveries", of(Delivery, Delivery.bot_id, held.bot_ids)
    yield "link_attempts", of(LinkAttempt, LinkAttempt.bot_id, held.bot_ids)
    yield "events", _events(connection, held, names)
    yield "rejections", of(Rejection, Rejection.id, rejections_naming(connection, held.bot_ids))
    yield "calendar_findings", _findings(connection, held)
    yield "missed_meetings", of(MissedMeeting, MissedMeeting.external_id, names)
    yield "calendar_tokens", of(CalendarToken, CalendarToken.external_id_hash, key)
    yield "erased_users", of(ErasedUser, ErasedUser.external_id_hash, key)
    yield "audit", of(Audit, Audit.subject, names)


def _naming_meetings(connection: Connection, held: Holdings) -> Iterator[Row]:
    # Of other people's copies only that they list this person: the rest is not theirs.
    for part in batches(held.copies):
        named = select(MeetingPerson.__table__).where(
            MeetingPerson.meeting_id.in_(part), MeetingPerson.email.in_(held.addresses)
        )
        for row in connection.execute(named).mappings():
            yield dict(row)


def _events(connection: Connection, held: Holdings, names: Sequence[str]) -> Iterator[Row]:
    yield from _rows(connection, Event, Event.bot_id.in_, held.bot_ids)
    # Those that no bot has a part in.
    yield from _rows(
        connection, Event, lambda part: Event.external_id.in_(part) & Event.bot_id.is_(None), names
    )


def _findings(connection: Connection, held: Holdings) -> Iterator[Row]:
    def theirs(part: Sequence[Any]) -> Any:
        return or_(CalendarFinding.calendar_user_id.in_(part), CalendarFinding.subject.in_(part))

    return _rows(connection, CalendarFinding, theirs, held.user_ids)


def _rows(
    connection: Connection,
    table: type[DeclarativeBase],
    condition: Callable[[Sequence[Any]], Any],
    keys: Sequence[Any],
) -> Iterator[Row]:
    kept = table.__table__
    if not isinstance(kept, Table):
        raise TypeError(f"{table.__name__} is not a table")
    for part in batches(keys):
        wanted = select(kept).where(condition(part)).order_by(*kept.primary_key)
        # Streamed: a busy person's payloads may be hundreds of megabytes.
        options = {"stream_results": True, "yield_per": 200}
        for row in connection.execute(wanted, execution_options=options).mappings():
            yield {k: _shown(v) for k, v in row.items() if k not in _LEFT_OUT}


def _shown(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    # A body as it was received; base64 if it is not text.
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
