"""The history of events: each change has one, each has its change, and each was received."""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, select

from models.core.bot_status import TERMINAL
from models.core.serialize import plain
from models.queries.views import BOT_LINKS
from models.tables.bot import Bot
from models.tables.event import Event

Row = Mapping[str, Any]
Key = tuple[str, str]


def faults_in_history(connection: Connection, bot_ids: Collection[str]) -> list[str]:
    """What is wrong with the events of these bots, which are settled."""
    histories = _histories(connection, bot_ids)
    links = _links(connection, bot_ids)
    return [
        *(f"{key} has no event" for key in links.keys() - histories.keys()),
        *(f"{key} has events and no link" for key in histories.keys() - links.keys()),
        *(words for key, link in links.items() for words in _of_link(key, link, histories[key])),
        *(f"the end of {bot_id} was not told" for bot_id in _untold(connection, bot_ids)),
    ]


def faults_in_delivery(connection: Connection, received: Collection[str]) -> list[str]:
    """What is wrong with the feed and the one endpoint, which received these events so far."""
    rows = connection.execute(select(Event.id, Event.position, Event.state)).all()
    places = sorted(row.position for row in rows if row.position is not None)
    written = {row.id for row in rows}
    return [
        *(["the feed has gaps"] if places != list(range(1, len(rows) + 1)) else []),
        *(f"{row.id} is {row.state}" for row in rows if row.state != "delivered"),
        *(f"{event_id} was not received" for event_id in sorted(written - set(received))),
        *(f"{event_id} was received, not written" for event_id in sorted(set(received) - written)),
    ]


def _of_link(key: Key, link: Row, history: list[tuple[str, Row]]) -> Iterator[str]:
    kinds = [kind for kind, _ in history]
    if kinds[:1] != ["link.created"] or kinds.count("link.created") != 1:
        yield f"{key} was made as {kinds}"
    if history and history[-1][1] != link:
        yield f"{key} is not as it was told last"
    for (_, before), (kind, after) in itertools.pairwise(history):
        if _shown(before) == _shown(after):
            yield f"{key}: {kind} tells of no change"


def _shown(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "updated_at"}


def _histories(connection: Connection, ids: Collection[str]) -> dict[Key, list[tuple[str, Row]]]:
    mine = select(Event.type, Event.bot_id, Event.meeting_id, Event.data)
    mine = mine.where(Event.bot_id.in_(ids), Event.type.startswith("link.")).order_by(Event.seq)
    found: dict[Key, list[tuple[str, Row]]] = defaultdict(list)
    for row in connection.execute(mine):
        found[row.bot_id, row.meeting_id].append((row.type, row.data["link"]))
    return found


def _links(connection: Connection, ids: Collection[str]) -> dict[Key, Row]:
    mine = select(BOT_LINKS).where(BOT_LINKS.c.bot_id.in_(ids))
    rows = connection.execute(mine).mappings()
    return {(row["bot_id"], row["meeting_id"]): plain(dict(row)) for row in rows}


def _untold(connection: Connection, ids: Collection[str]) -> list[str]:
    told = select(Event.bot_id).where(Event.type == "bot.ended", Event.bot_id.in_(ids))
    over = select(Bot.id).where(Bot.id.in_(ids), Bot.status.in_(TERMINAL), Bot.id.not_in(told))
    return list(connection.scalars(over))
