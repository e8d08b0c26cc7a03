"""Empties the data of events about an erased person; that something happened stays."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, String, and_, cast, func, or_, select, update

from models.tables.event import Event
from models.tables.link import Link


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


def take_out_of_events(
    connection: Connection, meeting_ids: Collection[str], addresses: Sequence[str]
) -> None:
    """Take these addresses out of the events of other people's copies of a meeting."""
    bots = select(Link.bot_id).where(Link.meeting_id.in_(meeting_ids))
    kept = select(Event.seq, Event.data).where(Event.bot_id.in_(bots))
    for row in connection.execute(kept).all():
        if (data := _without(row.data, addresses)) != row.data:
            connection.execute(update(Event).where(Event.seq == row.seq).values(data=data))


def _without(value: Any, addresses: Sequence[str]) -> Any:
    if isinstance(value, str):
        return None if value.strip().lower() in addresses else value
    if isinstance(value, list):
        return [_without(item, addresses) for item in value]
    if isinstance(value, dict):
        return {key: _without(item, addresses) for key, item in value.items()}
    return value
