"""What else there is of a meeting: every user's copy of it, and every bot that was in it."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, distinct, func, select

from models.queries.rows import LinkRow
from models.queries.views import BOT_LINKS
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link


@dataclass(frozen=True, slots=True)
class MeetingCounts:
    """How many copies of one meeting are linked, and to how many bots."""

    copies: int
    bots: int


def count_same(connection: Connection, rows: Iterable[LinkRow]) -> dict[str, MeetingCounts]:
    """Count the copies and the bots of each of these links' meetings, by meeting_key."""
    key = CalendarMeeting.meeting_key
    columns = (key, func.count(distinct(Link.meeting_id)), func.count(distinct(Link.bot_id)))
    counted = select(*columns).join(Link, Link.meeting_id == CalendarMeeting.id)
    counted = counted.where(key.in_(_keys(rows))).group_by(key)
    found = connection.execute(counted).all()
    return {str(key): MeetingCounts(copies, bots) for key, copies, bots in found}


def other_bots(
    connection: Connection, bot_id: str, rows: Iterable[LinkRow], most: int
) -> list[LinkRow]:
    """Read the links of other bots to the same meetings as this bot's links, newest first."""
    columns = BOT_LINKS.c
    others = select(BOT_LINKS).where(columns.meeting_key.in_(_keys(rows)), columns.bot_id != bot_id)
    order = (columns.linked_at, columns.bot_id, columns.meeting_id)
    newest = others.order_by(*(column.desc() for column in order)).limit(most)
    return [LinkRow(*row) for row in connection.execute(newest)]


def _keys(rows: Iterable[LinkRow]) -> list[str]:
    return sorted({row.meeting_key for row in rows if row.meeting_key})
