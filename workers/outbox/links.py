"""What a reader of bot_links sees change becomes an event, by whatever code.

A writer watches the bots and meetings that it is about to write. Their rows of the view are read
before and after, and what differs is an event, and moves `links.updated_at`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    Connection,
    Select,
    Table,
    Update,
    bindparam,
    or_,
    select,
    text,
    tuple_,
    update,
)

from models.queries.views import BOT_LINKS
from models.settings.events import EventType
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from workers.outbox.write import NewEvent, Subject, write_events

_LINKS = cast("Table", Link.__table__)
_KEY = ("bot_id", "meeting_id")
_OF_MEETING = (
    *("meeting_state", "meeting_title", "meeting_start", "meeting_end", "organizer_email"),
    *("ical_uid", "calendar_platform", "meeting_platform", "meeting_key"),
)
# Whatever else the view has is the bot's or the link's own, and is written under the bot's lock.
_OF_BOT = tuple(
    column.name
    for column in BOT_LINKS.columns
    if column.name not in (*_OF_MEETING, *_KEY, "updated_at")
)
# Two settles may both bring a meeting that has no row to lock yet.
_LOCK_NEW_MEETINGS = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(id, 0)) FROM ("
    "SELECT id FROM unnest(CAST(:keys AS varchar[])) AS wanted(id)"
    " WHERE NOT EXISTS (SELECT 1 FROM calendar_meetings WHERE calendar_meetings.id = wanted.id)"
    " ORDER BY id) AS missing"
)

Key = tuple[str, str]
Row = Mapping[str, Any]
Rows = dict[Key, Row]


@dataclass(frozen=True, slots=True)
class _Watched:
    bots: frozenset[str]
    meetings: frozenset[str]

    def changed(self, key: Key, before: Row, after: Row) -> list[str]:
        """Name what differs, of what the writer holds the lock of: the rest is another's news."""
        bot_id, meeting_id = key
        names = _OF_BOT if bot_id in self.bots else ()
        names += _OF_MEETING if meeting_id in self.meetings else ()
        return [name for name in names if before[name] != after[name]]


@contextmanager
def watch_links(
    connection: Connection, *, bot_ids: Collection[str] = (), meeting_ids: Collection[str] = ()
) -> Iterator[None]:
    """Write an event for each link that the block changes, in the block's transaction.

    The caller holds the bots' rows under lock; the meetings' are locked here. Watches must not be
    nested: each would report the same change.
    """
    watched = _Watched(frozenset(bot_ids), frozenset(meeting_ids))
    _lock_meetings(connection, sorted(watched.meetings))
    before = _rows(connection, watched)
    yield
    _report(connection, watched, before, _rows(connection, watched))


def adopt_links(connection: Connection, limit: int) -> int:
    """Tell of links that a release without events has written, as new ones; returns of how many."""
    untold = select(_LINKS.c.bot_id, _LINKS.c.meeting_id).where(_LINKS.c.updated_at.is_(None))
    untold = untold.order_by(_LINKS.c.bot_id, _LINKS.c.meeting_id).limit(limit)
    # A link that somebody writes just now is looked at again a minute later.
    rows = connection.execute(untold.with_for_update(skip_locked=True)).all()
    _tell(connection, {(row.bot_id, row.meeting_id): [] for row in rows}, {})
    return len(rows)


def lock_bots(connection: Connection, bot_ids: Collection[str]) -> None:
    """Lock bots' rows in the order in which every writer of bots does."""
    bots = select(Bot.id).where(Bot.id.in_(sorted(bot_ids)))
    connection.execute(bots.order_by(Bot.id).with_for_update()).all()


def lock_bots_of(connection: Connection, meeting_ids: Collection[str]) -> list[str]:
    """Lock the bots that are linked to these meetings, and return them."""
    theirs = select(Link.bot_id).where(Link.meeting_id.in_(meeting_ids))
    bot_ids = sorted(set(connection.scalars(theirs)))
    lock_bots(connection, bot_ids)
    return bot_ids


def links_of(connection: Connection, bot_ids: Collection[str]) -> list[Row]:
    """Return the rows of bot_links of these bots."""
    return [*_rows(connection, _Watched(frozenset(bot_ids), frozenset())).values()]


def _lock_meetings(connection: Connection, keys: Sequence[str]) -> None:
    # SQLite has one writer at a time.
    if not keys or connection.dialect.name != "postgresql":
        return
    connection.execute(_LOCK_NEW_MEETINGS, {"keys": list(keys)}).all()
    connection.execute(_meetings_lock(), {"keys": list(keys)}).all()


@cache
def _meetings_lock() -> Select[str]:
    is_among = CalendarMeeting.id.in_(bindparam("keys", expanding=True))
    return select(CalendarMeeting.id).where(is_among).order_by(CalendarMeeting.id).with_for_update()


def _rows(connection: Connection, watched: _Watched) -> Rows:
    given = {"bots": sorted(watched.bots), "meetings": sorted(watched.meetings)}
    given = {name: keys for name, keys in given.items() if keys}
    return _keyed(connection.execute(_watched_rows(tuple(given)), given)) if given else {}


def _keyed(found: Any) -> Rows:
    return {(row["bot_id"], row["meeting_id"]): row for row in found.mappings()}


@cache
def _watched_rows(names: tuple[str, ...]) -> Select[*tuple[Any, ...]]:
    links = BOT_LINKS.c
    columns = {"bots": links.bot_id, "meetings": links.meeting_id}
    are_among = (columns[name].in_(bindparam(name, expanding=True)) for name in names)
    return select(BOT_LINKS).where(or_(*are_among)).order_by(links.bot_id, links.meeting_id)


def _report(connection: Connection, watched: _Watched, before: Rows, after: Rows) -> None:
    news: dict[Key, list[str]] = {}
    for key, row in after.items():
        if key not in before:
            # Another's new link on a meeting of ours is another's to report.
            if key[0] in watched.bots:
                news[key] = []
        elif changed := watched.changed(key, before[key], row):
            news[key] = changed
    _tell(connection, news, before)


def _tell(connection: Connection, news: Mapping[Key, list[str]], before: Rows) -> None:
    if not news:
        return
    connection.execute(_touch(), [{"bot": bot, "meeting": meeting} for bot, meeting in news])
    # Read again: the update waited for whoever else was changing the same link, and what is told
    # last must be how it stands.
    stand = _keyed(connection.execute(_current_rows(), {"keys": [*news]}))
    write_events(
        connection,
        [_event(stand[key], before.get(key), changed) for key, changed in news.items()],
    )


@cache
def _touch() -> Update:
    is_wanted = (_LINKS.c.bot_id == bindparam("bot")) & (
        _LINKS.c.meeting_id == bindparam("meeting")
    )
    return update(_LINKS).where(is_wanted).values(updated_at=db_now())


@cache
def _current_rows() -> Select[*tuple[Any, ...]]:
    links = BOT_LINKS.c
    is_wanted = tuple_(links.bot_id, links.meeting_id).in_(bindparam("keys", expanding=True))
    return select(BOT_LINKS).where(is_wanted)


def _event(row: Row, before: Row | None, changed: Sequence[str]) -> NewEvent:
    subject = Subject(row["bot_id"], row["meeting_id"], row["external_id"])
    return NewEvent(_kind(row, before), subject, {"link": dict(row), "changed": list(changed)})


def _kind(row: Row, before: Row | None) -> EventType:
    if before is None:
        return "link.created"
    if (before["ended_at"] is None) == (row["ended_at"] is None):
        return "link.updated"
    return "link.reopened" if row["ended_at"] is None else "link.ended"
