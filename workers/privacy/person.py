"""A person by an address: the calendar users who have it, and the guest in others' meetings."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, select

from models.core.sanitize import email_address
from models.tables.base import database_time
from models.tables.calendar import CalendarMeeting, CalendarUser, MeetingPerson
from models.tables.link import Link
from workers.db.audit import audit
from workers.db.transactions import in_transaction
from workers.privacy.erase import (
    ACTION,
    Erased,
    Eraser,
    Holdings,
    holdings,
    rename_in_audit,
)
from workers.privacy.export import Row, as_json, object_head, sections
from workers.privacy.guest_export import guest_rows
from workers.privacy.guests import (
    Guest,
    Key,
    Place,
    elsewhere,
    guest_of,
    parts,
    take_out_of_meetings,
    take_out_some,
)
from workers.privacy.tombstones import is_pseudonym, pseudonym

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Person:
    """Who has an address: calendar users, each with what is stored, and a guest."""

    address: str
    users: tuple[Holdings, ...]
    guest: Guest

    @property
    def external_ids(self) -> list[str]:
        """The calendar users' names."""
        return [user.external_id for user in self.users]

    @property
    def steps(self) -> int:
        """How many steps erasing takes, at least."""
        of_guest = len([*parts(self.guest.meeting_ids), *elsewhere(self.guest.mentions)])
        return sum(user.batches for user in self.users) + of_guest + 1


@dataclass(frozen=True, slots=True)
class HeldRow:
    """How many rows of a table are stored about a calendar user, or about a guest (no name)."""

    email: str
    external_id: str | None
    kind: str
    rows: int


@dataclass(frozen=True, slots=True)
class PersonErased:
    """What erasing changed: of each calendar user, and of the guest by table."""

    users: Mapping[str, Erased] = field(default_factory=dict)
    guest: Mapping[str, int] = field(default_factory=dict)
    is_complete: bool = False


def find_person(connection: Connection, email: str) -> Person:
    """Find who has an address, in any case, changing nothing."""
    address = email_address(email)
    listed = select(MeetingPerson.meeting_id).where(MeetingPerson.email == address)
    meetings = sorted(connection.scalars(listed))
    named = _named(connection, address)
    users = tuple(holdings(connection, name, [address]) for name in sorted(named))
    own = {meeting_id for user in users for meeting_id in user.meeting_ids}
    others = [meeting_id for meeting_id in meetings if meeting_id not in own]
    return Person(address, users, guest_of(connection, address, others))


def _named(connection: Connection, address: str) -> set[str]:
    theirs = select(CalendarUser.external_id).where(CalendarUser.email == address)
    named = {name for name in connection.scalars(theirs) if name}
    # Before the first list of users. Of several hosts with one address, none can be it alone.
    hosted = (
        select(Link.external_id)
        .join(CalendarMeeting, CalendarMeeting.id == Link.meeting_id)
        .join(MeetingPerson, MeetingPerson.meeting_id == CalendarMeeting.id)
        .where(MeetingPerson.email == address, CalendarMeeting.organizer_email == address)
        .where(CalendarMeeting.is_hosted_by_me.is_(True))
        .distinct()
    )
    hosts = {name for name in connection.scalars(hosted) if name and not is_pseudonym(name)}
    return named | (hosts if len(hosts) == 1 else set())


def held_rows(connection: Connection, person: Person) -> list[HeldRow]:
    """Count what is stored about a person, by table."""
    found = [
        HeldRow(person.address, user.external_id, section.name, section.count(connection))
        for user in person.users
        for section in sections(connection, user)
    ]
    counts = Counter(mention.place.name for mention in person.guest.find(connection))
    counts["meeting_people"] += len(person.guest.meeting_ids)
    found += [HeldRow(person.address, None, name, n) for name, n in sorted(counts.items())]
    return [row for row in found if row.rows]


def export_person(connection: Connection, person: Person) -> Iterator[str]:
    """Yield everything stored about a person as one JSON object, an object for each user."""
    head: Row = {"email": person.address, "exported_at": database_time(connection)}
    yield f'{object_head(head)},\n"people":['
    for user in person.users:
        theirs = ((one.name, one.rows(connection)) for one in sections(connection, user))
        yield from as_json({"external_id": user.external_id}, theirs)
        yield ","
    yield from as_json({"external_id": None}, guest_rows(connection, person.guest).items())
    yield "]}\n"


@dataclass(frozen=True, slots=True)
class PersonEraser:
    """Erases a person; `actor` is recorded in the audit."""

    engine: Engine
    actor: str

    def erase(self, person: Person) -> Generator[PersonErased, None, None]:
        """Erase in batches; yields the counts so far. Iterate to the end, or close it."""
        done = PersonErased()
        try:
            for so_far in self._steps(person):
                done = so_far
                yield done
        except GeneratorExit:
            self._record(person, done)
            raise
        done = replace(done, is_complete=True)
        self._record(person, done)
        yield done

    def _steps(self, person: Person) -> Iterator[PersonErased]:
        done = PersonErased()
        for user in person.users:
            for erased in self._user(user):
                done = replace(done, users={**done.users, user.external_id: erased})
                yield done
        counts = Counter[str]()
        for _ in self._guest(person.guest, counts):
            done = replace(done, guest=dict(counts))
            yield done

    def _record(self, person: Person, done: PersonErased) -> None:
        # Each calendar user has a row of their own.
        if done.is_complete and person.users and not any(done.guest.values()):
            return
        whose, details = pseudonym(person.address), dict[str, Any](done.guest)
        details |= {} if done.is_complete else {"is_complete": False}
        self._do(lambda connection: audit(connection, self.actor, ACTION, whose, details))

    def _user(self, user: Holdings) -> Iterator[Erased]:
        eraser = Eraser(self.engine, self.actor)
        eraser.add_tombstone(user.external_id)
        # Look again after the tombstone, to include what was linked in the meantime.
        yield from eraser.erase(self._do(lambda c: holdings(c, user.external_id, user.addresses)))

    def _guest(self, guest: Guest, counts: Counter[str]) -> Iterator[None]:
        for part in parts(guest.meeting_ids):
            counts.update(self._do(partial(take_out_of_meetings, guest=guest, part=part)))
            yield
        address = guest.mentions.address
        self._do(lambda connection: rename_in_audit(connection, address, pseudonym(address)))
        for place, condition in elsewhere(guest.mentions):
            yield from self._place(guest, place, condition, counts)

    def _place(
        self, guest: Guest, place: Place, condition: Any, counts: Counter[str]
    ) -> Iterator[None]:
        after: Key | None = None
        mentions = guest.mentions.elsewhere
        given = {"place": place, "condition": condition, "mentions": mentions}
        while True:
            found, after = self._do(partial(take_out_some, **given, after=after))
            counts[place.name] += found
            yield
            if after is None:
                return

    def _do(self, work: Callable[[Connection], T]) -> T:
        return in_transaction(self.engine, work)
