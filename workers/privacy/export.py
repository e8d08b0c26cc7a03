"""Exports everything stored about a calendar user, table by table.

Tokens are not exported, only when they expire.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, func, or_, select
from sqlalchemy.orm import DeclarativeBase

from models.core.serialize import plain
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
from workers.db.audit import audit
from workers.db.transactions import in_transaction
from workers.privacy.erase import Holdings, batches, rejections_naming
from workers.privacy.tombstones import erased_among, external_id_hash, pseudonym

Row = dict[str, Any]
# Technical columns that say nothing about the person, and copies of other columns.
_LEFT_OUT = frozenset(
    {"headers", "ciphertext", "fingerprint", "external_id_hash", "lease_token"}
    | ({*TITLE_COLUMNS} - {"title"})
)


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a table that a condition finds by these keys."""

    table: type[DeclarativeBase]
    condition: Callable[[Sequence[Any]], Any]
    keys: Sequence[Any]

    def rows(self, connection: Connection) -> Iterator[Row]:
        """Yield the rows. Read them before the next part."""
        kept = self._kept
        for part in batches(self.keys):
            wanted = select(kept).where(self.condition(part)).order_by(*kept.primary_key)
            # Streamed: a busy person's payloads may be hundreds of megabytes.
            options = {"stream_results": True, "yield_per": 200}
            for row in connection.execute(wanted, execution_options=options).mappings():
                yield {k: _shown(v) for k, v in row.items() if k not in _LEFT_OUT}

    def count(self, connection: Connection) -> int:
        """Count the rows."""
        counted = select(func.count()).select_from(self._kept)
        found = (counted.where(self.condition(part)) for part in batches(self.keys))
        return sum(connection.scalar(one) or 0 for one in found)

    @property
    def _kept(self) -> Table:
        return cast("Table", self.table.__table__)


@dataclass(frozen=True, slots=True)
class Section:
    """What is stored about a person in one table."""

    name: str
    parts: tuple[Part, ...]

    def rows(self, connection: Connection) -> Iterator[Row]:
        """Yield the rows. Read them before the next section."""
        for part in self.parts:
            yield from part.rows(connection)

    def count(self, connection: Connection) -> int:
        """Count the rows."""
        return sum(part.count(connection) for part in self.parts)


def sections(connection: Connection, held: Holdings) -> Iterator[Section]:
    """Yield what is stored about a calendar user, table by table."""

    def of(table: type[DeclarativeBase], column: Any, keys: Sequence[Any]) -> tuple[Part]:
        return (Part(table, column.in_, keys),)

    # By pseudonym too, since an erased user has rows under it.
    names = (held.external_id, pseudonym(held.external_id))
    key = [external_id_hash(held.external_id)]
    rejected = rejections_naming(connection, held.bot_ids)
    for name, parts in (
        ("calendar_users", of(CalendarUser, CalendarUser.external_id, names)),
        ("links", of(Link, Link.external_id, names)),
        ("calendar_meetings", of(CalendarMeeting, CalendarMeeting.id, held.meeting_ids)),
        ("meeting_people", of(MeetingPerson, MeetingPerson.meeting_id, held.meeting_ids)),
        ("others_copies", (_others_copies(held),)),
        ("bots", of(Bot, Bot.id, held.bot_ids)),
        ("bot_statuses", of(BotStatus, BotStatus.bot_id, held.bot_ids)),
        ("recordings", of(Recording, Recording.bot_id, held.bot_ids)),
        ("deliveries", of(Delivery, Delivery.bot_id, held.bot_ids)),
        ("link_attempts", of(LinkAttempt, LinkAttempt.bot_id, held.bot_ids)),
        ("events", _events(held, names)),
        ("rejections", of(Rejection, Rejection.id, rejected)),
        ("calendar_findings", (_findings(held),)),
        ("missed_meetings", of(MissedMeeting, MissedMeeting.external_id, names)),
        ("calendar_tokens", of(CalendarToken, CalendarToken.external_id_hash, key)),
        ("erased_users", of(ErasedUser, ErasedUser.external_id_hash, key)),
        ("audit", of(Audit, Audit.subject, names)),
    ):
        yield Section(name, parts)


def is_anything_held(connection: Connection, found: Iterable[Section]) -> bool:
    """Whether anything is stored besides the audit of earlier requests."""
    return any(one.count(connection) for one in found if one.name != Audit.__tablename__)


def record_export(engine: Engine, actor: str, subject: str) -> None:
    """Record in the audit who exported what is stored about somebody."""

    def write(connection: Connection) -> None:
        # Of an erased user, the audit keeps the pseudonym.
        named = erased_among(connection, [subject]).get(subject, subject)
        audit(connection, actor, "export", named, {})

    in_transaction(engine, write)


def as_json(head: Row, found: Iterable[tuple[str, Iterable[Row]]]) -> Iterator[str]:
    """Yield one JSON object: the head, then a list of rows by each name."""
    # Written while it is read, because a person's payloads may not fit in memory.
    yield object_head(head)
    for name, rows in found:
        yield f",\n{json.dumps(name)}:["
        for number, row in enumerate(rows):
            yield f"{',' if number else ''}\n{_json(row)}"
        yield "]"
    yield "}\n"


def object_head(head: Row) -> str:
    """Return the beginning of a JSON object that goes on after these names."""
    return _json(head).removesuffix("}")


def _json(value: object) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


def _others_copies(held: Holdings) -> Part:
    # Of other people's copies only that they list this person: the rest is not theirs.
    named = MeetingPerson.email.in_(held.addresses)
    return Part(MeetingPerson, lambda part: MeetingPerson.meeting_id.in_(part) & named, held.copies)


def _events(held: Holdings, names: Sequence[str]) -> tuple[Part, Part]:
    # Those that no bot has a part in.
    alone = Event.bot_id.is_(None)
    return (
        Part(Event, Event.bot_id.in_, held.bot_ids),
        Part(Event, lambda part: Event.external_id.in_(part) & alone, names),
    )


def _findings(held: Holdings) -> Part:
    def theirs(part: Sequence[Any]) -> Any:
        return or_(CalendarFinding.calendar_user_id.in_(part), CalendarFinding.subject.in_(part))

    return Part(CalendarFinding, theirs, held.user_ids)


def _shown(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    # A body as it was received; base64 if it is not text.
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
