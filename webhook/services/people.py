"""A person by an address: what is stored, its export, and its erasing."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing

from pydantic import Field
from sqlalchemy import Connection, Engine

from models.queries.filters import Email
from webhook.services.reader import Reader
from webhook.web.params import Format
from workers.privacy.export import record_export
from workers.privacy.person import (
    HeldRow,
    Person,
    PersonErased,
    PersonEraser,
    export_person,
    find_person,
    held_rows,
)


class PersonQuery(Format):
    """Whose data: a person's address."""

    email: Email = Field(description="the person's address, in any case")


class People:
    """Reads, exports and erases what is stored about a person; changes are audited."""

    def __init__(self, reader: Reader, writes: Engine) -> None:
        self._reader = reader
        self._writes = writes

    def find(self, email: str) -> tuple[Person, list[HeldRow]]:
        """Return who has this address, and how much is stored about them."""

        def read(connection: Connection) -> tuple[Person, list[HeldRow]]:
            found = find_person(connection, email)
            return found, held_rows(connection, found)

        return self._reader.read(read)

    def export(self, person: Person, actor: str) -> Iterator[str]:
        """Record the export, then yield everything stored as one JSON object."""
        for subject in person.external_ids or [person.address]:
            record_export(self._writes, actor, subject)
        return self._reader.lines(lambda connection: export_person(connection, person))

    def erase(self, person: Person, actor: str) -> Generator[PersonErased, None, None]:
        """Erase in batches; yields the counts so far. Iterate to the end."""
        return PersonEraser(self._writes, actor).erase(person)

    def erase_for(self, seconds: float, person: Person, actor: str) -> PersonErased:
        """Erase until it is complete, or these seconds are over: it may be repeated."""
        end, done = time.monotonic() + seconds, PersonErased()
        with closing(self.erase(person, actor)) as steps:
            for so_far in steps:
                done = so_far
                if time.monotonic() > end:
                    break
        return done
