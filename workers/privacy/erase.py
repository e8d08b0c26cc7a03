"""Erases a person: personal data of a calendar user is emptied; counts and link rows stay.

The tombstone is written first, in its own transaction: from then on nothing new is fetched. Then
come batches that may be repeated: an erase that was interrupted is simply run again.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, String, cast, or_, select, update

from models.tables.audit import Audit
from models.tables.calendar import CalendarMeeting, CalendarUser, MeetingPerson
from models.tables.link import Link
from models.tables.rejection import Rejection
from workers.db.audit import audit
from workers.db.transactions import in_transaction
from workers.outbox.links import lock_bots, lock_bots_of, watch_links
from workers.privacy.copies import drop_from_copies
from workers.privacy.guests import EVENTS, take_out_some
from workers.privacy.mentions import Mentions
from workers.privacy.redact import (
    annotate_links,
    redact_bots,
    redact_calendars,
    redact_meetings,
)
from workers.privacy.redact_events import empty_events, empty_events_of, events_with
from workers.privacy.tombstones import ERASED, add_tombstone, pseudonym

BATCH = 500
_BODIES = 200
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ACTION = "erase"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Holdings:
    """The ids of what is stored of a person.

    `addresses` are those of their calendars, those they host meetings under, and those given.
    """

    external_id: str
    user_ids: tuple[str, ...]
    meeting_ids: tuple[str, ...]
    bot_ids: tuple[str, ...]
    addresses: tuple[str, ...]
    copies: tuple[str, ...]

    @property
    def batches(self) -> int:
        """How many steps erasing takes."""
        parts = (self.meeting_ids, self.bot_ids, self.copies)
        return sum(-(-len(part) // BATCH) for part in parts) + len(self.addresses) + 1


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows were emptied; `links` are annotated, never deleted."""

    meetings: int = 0
    links: int = 0
    payloads: int = 0
    copies: int = 0
    rejections: int = 0
    events: int = 0


def holdings(connection: Connection, external_id: str, named: Iterable[str] = ()) -> Holdings:
    """Find what is stored of a person, changing nothing. `named` are addresses of theirs."""
    names = (external_id, pseudonym(external_id))
    theirs = select(Link.meeting_id, Link.bot_id, Link.calendar_user_id)
    found = connection.execute(theirs.where(Link.external_id.in_(names))).all()
    users = select(CalendarUser.id, CalendarUser.email).where(CalendarUser.external_id.in_(names))
    known = connection.execute(users).all()
    meetings = sorted({row.meeting_id for row in found})
    addresses = {address.strip().lower() for address in named}
    addresses |= _hosted_as(connection, meetings) | {row.email for row in known if row.email}
    return Holdings(
        external_id=external_id,
        user_ids=tuple(sorted(row.id for row in known)),
        meeting_ids=tuple(meetings),
        bot_ids=tuple(sorted({row.bot_id for row in found})),
        addresses=tuple(sorted(addresses)),
        copies=tuple(_copies(connection, addresses, set(meetings))),
    )


def _hosted_as(connection: Connection, meeting_ids: Sequence[str]) -> set[str]:
    addresses: set[str] = set()
    for part in batches(meeting_ids):
        hosted = select(CalendarMeeting.organizer_email).where(
            CalendarMeeting.id.in_(part), CalendarMeeting.is_hosted_by_me.is_(True)
        )
        addresses |= {address for address in connection.scalars(hosted) if address}
    return addresses


def _copies(connection: Connection, addresses: set[str], own: set[str]) -> list[str]:
    # Other people's copies of a meeting list this person too.
    if not addresses:
        return []
    named = select(MeetingPerson.meeting_id).where(MeetingPerson.email.in_(addresses))
    return sorted(set(connection.scalars(named)) - own)


@dataclass(frozen=True, slots=True)
class Eraser:
    """Erases what was found; `actor` is recorded in the audit."""

    engine: Engine
    actor: str

    def add_tombstone(self, external_id: str) -> None:
        """Write the tombstone: no token is requested for this person from now on."""
        in_transaction(
            self.engine, lambda connection: add_tombstone(connection, external_id, ERASED)
        )

    def erase(self, held: Holdings) -> Iterator[Erased]:
        """Erase in batches; yields the counts so far. Iterate to the end."""
        done = Erased()
        whose = pseudonym(held.external_id)
        for part in batches(held.meeting_ids):
            done = self._step(done, lambda c, part=part: _meetings(c, part, whose))
            yield done
        for part in batches(held.bot_ids):
            done = self._step(done, lambda c, part=part: _bots(c, part, whose))
            yield done
        for part in batches(held.copies):
            done = self._step(done, lambda c, part=part: drop_from_copies(c, part, held.addresses))
            yield done
        for address in held.addresses:
            self._take_out_of_events(Mentions(address))
            yield done
        done = self._step(done, lambda connection: _erase_rest(connection, held))
        counts = asdict(done)
        in_transaction(self.engine, lambda c: audit(c, self.actor, ACTION, whose, counts))
        yield done

    def _take_out_of_events(self, mentions: Mentions) -> None:
        # Whatever they are about: a copy may have had this person as its host before.
        naming, after = events_with(mentions.words), None
        while True:
            some = partial(take_out_some, place=EVENTS, condition=naming, mentions=mentions)
            _, after = in_transaction(self.engine, partial(some, after=after))
            if after is None:
                return

    def _step(self, done: Erased, work: Any) -> Erased:
        counts = in_transaction(self.engine, work)
        return replace(done, **{name: getattr(done, name) + n for name, n in counts.items()})


def batches(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Split a sequence into batches, one transaction each."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _meetings(connection: Connection, part: Sequence[str], whose: str) -> dict[str, int]:
    bots = lock_bots_of(connection, part)
    # Before the events about the erasure itself, which name nobody.
    events = empty_events(connection, whose, meeting_ids=part, bot_ids=bots)
    with watch_links(connection, bot_ids=bots, meeting_ids=part):
        # Links first: the next steps, and a drain that saves late, find the bots by them.
        links = annotate_links(connection, part, whose)
        meetings = redact_meetings(connection, part)
        payloads = redact_bots(connection, bots)
    return {"links": links, "meetings": meetings, "payloads": payloads, "events": events}


def annotate_meetings(connection: Connection, part: Sequence[str], whose: str) -> int:
    """Say at the links of these meetings that their user is gone; returns how many are new."""
    with watch_links(connection, bot_ids=lock_bots_of(connection, part)):
        return annotate_links(connection, part, whose)


def _bots(connection: Connection, part: Sequence[str], whose: str) -> dict[str, int]:
    lock_bots(connection, part)
    events = empty_events(connection, whose, bot_ids=part)
    with watch_links(connection, bot_ids=part):
        return {"payloads": redact_bots(connection, part), "events": events}


def _erase_rest(connection: Connection, held: Holdings) -> dict[str, int]:
    whose = pseudonym(held.external_id)
    redact_calendars(connection, held.external_id, held.user_ids, whose)
    rename_in_audit(connection, held.external_id, whose)
    events = empty_events_of(connection, held.external_id, whose)
    return {"rejections": _empty_rejections(connection, held.bot_ids), "events": events}


def rename_in_audit(connection: Connection, external_id: str, whose: str) -> None:
    """Replace a name in the audit by a pseudonym."""
    # The audit keeps who did what; the person has the same pseudonym as in the links.
    said = or_(
        Audit.subject == external_id,
        cast(Audit.details, String).contains(external_id, autoescape=True),
    )
    for row in connection.execute(select(Audit.id, Audit.subject, Audit.details).where(said)).all():
        subject = whose if row.subject == external_id else row.subject
        details = _renamed(row.details, external_id, whose)
        changed = update(Audit).where(Audit.id == row.id)
        connection.execute(changed.values(subject=subject, details=details))


def _renamed(value: Any, name: str, other: str) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(item, name, other) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, name, other) for item in value]
    return other if value == name else value


def _empty_rejections(connection: Connection, bot_ids: Sequence[str]) -> int:
    # A rejected request names its bot only in its unparsed body.
    found = rejections_naming(connection, bot_ids)
    for part in batches(found):
        connection.execute(update(Rejection).where(Rejection.id.in_(part)).values(body=None))
    return len(found)


def rejections_naming(connection: Connection, bot_ids: Collection[str]) -> list[int]:
    """Return the ids of rejections whose body names one of these bots."""
    wanted, found, last = {bot_id.encode() for bot_id in bot_ids}, list[int](), 0
    kept = select(Rejection.id, Rejection.body).where(Rejection.body.is_not(None))
    # In batches: ten thousand bodies of 64 KiB do not fit into a dyno's memory.
    while wanted:
        after = kept.where(Rejection.id > last).order_by(Rejection.id).limit(_BODIES)
        rows = connection.execute(after).all()
        found += [row.id for row in rows if wanted.intersection(_UUID.findall(row.body.lower()))]
        if len(rows) < _BODIES:
            break
        last = rows[-1].id
    return found
