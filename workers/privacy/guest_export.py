"""What is stored about a guest: where they are named, and of the meetings what is theirs."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from models.core.sanitize import email_address
from models.tables.calendar import CalendarMeeting
from workers.privacy.guests import MEETINGS, Guest, Mention, Row, is_of, parts


def guest_rows(connection: Connection, guest: Guest) -> Mapping[str, Sequence[Row]]:
    """Return the rows by table: of those that are others', which columns name the guest."""
    found = defaultdict[str, list[Row]](list)
    found["meetings"] = [*_meetings(connection, guest)]
    for mention in guest.find(connection):
        found[mention.place.name].append(_row(mention))
    return found


def _row(mention: Mention) -> Row:
    return {**mention.key, "named_in": sorted(mention.changes)}


def _meetings(connection: Connection, guest: Guest) -> Iterator[Row]:
    columns = ("id", "start_time", "end_time", "organizer_email", "attendees", "title")
    wanted = select(*(MEETINGS.kept.c[name] for name in columns))
    for part in parts(guest.meeting_ids):
        for row in connection.execute(wanted.where(CalendarMeeting.id.in_(part))).mappings():
            yield _meeting(dict(row), guest)


def _meeting(row: Row, guest: Guest) -> Row:
    address = guest.mentions.address
    names_them = guest.mentions.without(row["title"]) != row["title"]
    theirs: list[Any] = [one for one in row["attendees"] or [] if is_of(one, address)]
    return {
        **{name: row[name] for name in ("id", "start_time", "end_time")},
        "is_organizer": email_address(row["organizer_email"] or "") == address,
        "attendee": theirs,
        "title": row["title"] if names_them else None,
    }
