"""A guest: somebody who is no calendar user, and is named in other people's meetings.

What names them is taken out; the rest of the rows is not theirs, and stays.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    bindparam,
    delete,
    select,
    true,
    tuple_,
    update,
)

from models.core.sanitize import email_address
from models.core.title_words import title_columns
from models.tables.audit import Audit
from models.tables.base import Base
from models.tables.bot import Bot, BotStatus
from models.tables.calendar import CalendarMeeting, CalendarUser, MeetingPerson
from models.tables.calendar_finding import CalendarFinding
from models.tables.delivery import Delivery
from models.tables.event import Event
from models.tables.link import Link, LinkAttempt
from models.tables.missed_meeting import MissedMeeting
from models.tables.rejection import Rejection
from workers.outbox.links import lock_bots_of, watch_links
from workers.privacy.mentions import Mentions
from workers.privacy.redact_events import events_with

ROWS = 200
MEETINGS_AT_ONCE = 100
_ATTENDEES = "attendees"

Row = dict[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A table, and the columns of it that may name somebody."""

    table: type[Base]
    columns: tuple[str, ...]
    # What a payload that names them becomes.
    empty: bytes | None = None

    @property
    def name(self) -> str:
        """The table's name."""
        return self.kept.name

    @property
    def kept(self) -> Table:
        """The table."""
        return cast("Table", self.table.__table__)

    @property
    def key(self) -> tuple[Column[Any], ...]:
        """The columns of its primary key."""
        return tuple(self.kept.primary_key)


@dataclass(frozen=True, slots=True)
class Mention:
    """One row that names them, by its key, and what its columns become without that."""

    place: Place
    key: Row
    changes: Row


@dataclass(frozen=True, slots=True)
class Guest:
    """Where somebody is named: meetings in other people's calendars, and the bots of these."""

    mentions: Mentions
    meeting_ids: tuple[str, ...]
    bot_ids: tuple[str, ...]

    def find(self, connection: Connection) -> Iterator[Mention]:
        """Yield what names them, table by table, each row once."""
        found = set[Key]()
        for place, condition, mentions in self._places():
            for one in read_all(connection, place, condition, mentions):
                # An event of one of their bots is found by what it says as well.
                if (key := (place.name, *one.key.values())) not in found:
                    found.add(key)
                    yield one

    def _places(self) -> Iterator[tuple[Place, Any, Mentions]]:
        for part in parts(self.meeting_ids):
            yield MEETINGS, CalendarMeeting.id.in_(part), self.mentions
        for part in parts(self.bot_ids):
            for place, column in (*OF_BOTS, (BOTS, Bot.id)):
                yield place, column.in_(part), self.mentions
        for place, condition in elsewhere(self.mentions):
            yield place, condition, self.mentions.elsewhere


MEETINGS = Place(
    CalendarMeeting,
    ("title", "ical_uid", "organizer_email", "will_record_reason", _ATTENDEES, "details"),
)
BOTS = Place(Bot, ("bot_name", "meeting_url", "metadata", "last_error"))
_DELIVERIES = Place(Delivery, ("message", "body"), empty=b"")
EVENTS = Place(Event, ("data",))
OF_BOTS = (
    (Place(BotStatus, ("message",)), BotStatus.bot_id),
    (_DELIVERIES, Delivery.bot_id),
    (Place(LinkAttempt, ("error", "calls")), LinkAttempt.bot_id),
    (EVENTS, Event.bot_id),
)


def elsewhere(mentions: Mentions) -> Iterator[tuple[Place, ColumnElement[bool]]]:
    """Yield what no bot or meeting of theirs leads to: few rows, or soon deleted."""
    # Also those of bots: the organiser may be another now, and a missed meeting has no link.
    yield EVENTS, events_with(mentions.elsewhere.words)
    yield _DELIVERIES, Delivery.bot_id.is_(None)
    yield Place(Rejection, ("body",)), Rejection.body.is_not(None)
    yield Place(MissedMeeting, ("title",)), true()
    yield Place(CalendarFinding, ("title",)), true()
    yield Place(Audit, ("subject", "details")), true()
    # A calendar user whom no list has named by an external_id.
    nameless = CalendarUser.external_id.is_(None)
    yield Place(CalendarUser, ("email",)), nameless & (CalendarUser.email == mentions.address)


def parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split ids into parts, one transaction each."""
    for start in range(0, len(ids), MEETINGS_AT_ONCE):
        yield ids[start : start + MEETINGS_AT_ONCE]


def guest_of(connection: Connection, address: str, meeting_ids: Sequence[str]) -> Guest:
    """Return the guest with this address in these meetings; the attendees have their names."""
    names, bots = set[str](), set[str]()
    for part in parts(meeting_ids):
        listed = select(CalendarMeeting.attendees).where(CalendarMeeting.id.in_(part))
        for attendees in connection.scalars(listed):
            names |= {name for one in attendees or [] if (name := _name(one, address))}
        bots |= set(connection.scalars(select(Link.bot_id).where(Link.meeting_id.in_(part))))
    mentions = Mentions(address, tuple(sorted(names)))
    return Guest(mentions, tuple(meeting_ids), tuple(sorted(bots)))


def _name(attendee: Row, address: str) -> str:
    name = str(attendee.get("name") or "").strip()
    # One of two letters may be any word of a title.
    return name if is_of(attendee, address) and len(name) > 2 else ""


def is_of(attendee: Row, address: str) -> bool:
    """Whether an attendee has this address."""
    return email_address(str(attendee.get("email") or "")) == address


def read_all(
    connection: Connection, place: Place, condition: Any, mentions: Mentions
) -> Iterator[Mention]:
    """Yield every row that names them, read in batches: payloads may not fit in memory."""
    after: Key | None = None
    while True:
        found, after = read_some(connection, place, condition, mentions, after)
        yield from found
        if after is None:
            return


def read_some(
    connection: Connection, place: Place, condition: Any, mentions: Mentions, after: Key | None
) -> tuple[list[Mention], Key | None]:
    """Return what names them in the next rows, and the key of the last one if there are more."""
    columns = [place.kept.c[name] for name in place.columns]
    wanted = select(*place.key, *columns).where(condition).order_by(*place.key).limit(ROWS)
    if after is not None:
        behind = (bindparam(None, v, c.type) for v, c in zip(after, place.key, strict=True))
        wanted = wanted.where(tuple_(*place.key) > tuple_(*behind))
    rows = connection.execute(wanted).mappings().all()
    keys = [{column.name: row[column.name] for column in place.key} for row in rows]
    pairs = zip(keys, rows, strict=True)
    found = [Mention(place, key, _changes(place, row, mentions)) for key, row in pairs]
    last = tuple(keys[-1].values()) if len(rows) == ROWS else None
    return [one for one in found if one.changes], last


def _changes(place: Place, row: Mapping[Any, Any], mentions: Mentions) -> Row:
    after = {name: _without(place, name, row[name], mentions) for name in place.columns}
    return {name: value for name, value in after.items() if value != row[name]}


def _without(place: Place, name: str, value: Any, mentions: Mentions) -> Any:
    if isinstance(value, bytes):
        return place.empty if mentions.are_in(value) else value
    if name != _ATTENDEES:
        return mentions.without(value)
    # Another attendee may have the same name.
    others = [one for one in value or [] if not is_of(one, mentions.address)]
    return mentions.by_address.without(others) if value else value


def take_out_some(
    connection: Connection, place: Place, condition: Any, mentions: Mentions, after: Key | None
) -> tuple[int, Key | None]:
    """Take them out of the next rows; returns of how many, and the last key if there are more."""
    found, last = read_some(connection, place, condition, mentions, after)
    write(connection, found)
    return len(found), last


def write(connection: Connection, found: Sequence[Mention]) -> None:
    """Take them out of these rows."""
    for one in found:
        place, changes = one.place, dict(one.changes)
        if place is MEETINGS and "title" in changes:
            changes |= title_columns(changes["title"])
        same = (column == one.key[column.name] for column in place.key)
        connection.execute(update(place.kept).where(*same).values(changes))


def take_out_of_meetings(connection: Connection, guest: Guest, part: Sequence[str]) -> Counter[str]:
    """Take them out of these meetings, their bots, and what is stored about both."""
    counts = Counter[str]()
    bots = lock_bots_of(connection, part)
    # Before the events of the erasing itself, which name nobody.
    for place, column in OF_BOTS:
        counts[place.name] += _take_out(connection, guest, place, column.in_(bots))
    with watch_links(connection, bot_ids=bots, meeting_ids=part):
        for place, condition in (BOTS, Bot.id.in_(bots)), (MEETINGS, CalendarMeeting.id.in_(part)):
            counts[place.name] += _take_out(connection, guest, place, condition)
        theirs = MeetingPerson.email == guest.mentions.address
        people = delete(MeetingPerson).where(MeetingPerson.meeting_id.in_(part), theirs)
        counts["meeting_people"] += connection.execute(people).rowcount
    return counts


def _take_out(connection: Connection, guest: Guest, place: Place, condition: Any) -> int:
    found = [*read_all(connection, place, condition, guest.mentions)]
    write(connection, found)
    return len(found)
