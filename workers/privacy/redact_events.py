"""Empties the data of events about an erased person; that something happened stays."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, and_, cast, func, or_, true, update

from models.tables.event import Event

_PLAIN = re.compile(r"[a-z0-9.+_' -]+", re.ASCII | re.IGNORECASE)


def empty_events(
    connection: Connection,
    whose: str,
    *,
    bot_ids: Collection[str],
    meeting_ids: Collection[str] = (),
) -> int:
    """Empty the events of these meetings, and those of these bots; returns how many had data.

    Another person's link to one of the bots is theirs, and stays; so does what goes by the
    pseudonym `whose` already.
    """
    of_bots = and_(Event.bot_id.in_(bot_ids), Event.meeting_id.is_(None))
    of_meetings = and_(
        Event.meeting_id.in_(meeting_ids), func.coalesce(Event.external_id, "") != whose
    )
    return _empty(connection, or_(of_bots, of_meetings))


def empty_events_of(connection: Connection, external_id: str, whose: str) -> int:
    """Empty what else names this calendar user, and name them as their links do."""
    theirs = Event.external_id == external_id
    emptied = _empty(connection, theirs)
    connection.execute(update(Event).where(theirs).values(external_id=whose))
    return emptied


def _empty(connection: Connection, theirs: Any) -> int:
    has_data = cast(Event.data, String) != "{}"
    return connection.execute(update(Event).where(theirs, has_data).values(data={})).rowcount


def events_with(words: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that an event's data may hold one of these words, in any case."""
    # A database may keep any other character as an escape: then each event is read.
    if not all(map(_PLAIN.fullmatch, words)):
        return true()
    said = func.lower(cast(Event.data, String))
    return or_(*(said.contains(word.lower(), autoescape=True) for word in words))
