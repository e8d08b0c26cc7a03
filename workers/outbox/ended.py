"""`bot.ended`: written when nothing of a bot is owed after its end, once for each content."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Table, bindparam, select, update

from models.core.bot_status import TERMINAL
from models.core.serialize import plain
from models.tables.bot import Bot
from models.tables.recording import Recording
from workers.outbox.links import links_of
from workers.outbox.write import NewEvent, Subject, write_events

_BOTS = cast("Table", Bot.__table__)
_BOT = {
    "bot_id": Bot.id,
    "status": Bot.status,
    "sub_code": Bot.sub_code,
    "link_state": Bot.link_state,
    "recorded": Bot.recorded,
    "recorded_from": Bot.recorded_from,
    "recorded_until": Bot.recorded_until,
    "ended_sub_code": Bot.ended_sub_code,
    "bot_name": Bot.bot_name,
    "metadata": Bot.bot_metadata,
}
_RECORDING = {
    "recording_id": Recording.id,
    "status": Recording.status,
    "started_at": Recording.started_at,
    "completed_at": Recording.completed_at,
    "expires_at": Recording.expires_at,
    "transcript_id": Recording.transcript_id,
    "transcript_status": Recording.transcript_status,
}

Row = Mapping[str, Any]


def report_ended(connection: Connection, bot_ids: Collection[str]) -> None:
    """Write the event for those of these bots that have ended and owe nothing; no content twice.

    The caller holds the bots' rows under lock.
    """
    _report(connection, _ended(connection, bot_ids))


def correct_ended(connection: Connection, bot_ids: Collection[str]) -> None:
    """Write the event anew for those of these bots of which it no longer says the truth.

    Call it with the bots whose status, outcome or recordings a write without a look-up changed,
    after the watch of their links. The caller holds the bots' rows under lock.
    """
    if bot_ids:
        # Of a bot that was never told of, the look-up that it owes tells.
        ended = _ended(connection, bot_ids)
        _report(connection, [row for row in ended if row["ended_digest"] is not None])


def _report(connection: Connection, ended: Sequence[Row]) -> None:
    if not ended:
        return
    news = [
        (row["bot_id"], digest, data)
        for row, data in zip(ended, _contents(connection, ended), strict=True)
        if (digest := _digest(data)) != row["ended_digest"]
    ]
    if news:
        reported = update(_BOTS).where(_BOTS.c.id == bindparam("bot"))
        rows = [{"bot": bot_id, "new": digest} for bot_id, digest, _ in news]
        connection.execute(reported.values(ended_digest=bindparam("new")), rows)
    write_events(connection, [NewEvent("bot.ended", Subject(bot), data) for bot, _, data in news])


def _ended(connection: Connection, bot_ids: Collection[str]) -> list[Row]:
    columns = [column.label(name) for name, column in _BOT.items()]
    over = (Bot.id.in_(sorted(bot_ids)), Bot.status.in_(sorted(TERMINAL)), Bot.due_at.is_(None))
    found = connection.execute(select(*columns, Bot.ended_digest).where(*over).order_by(Bot.id))
    return [*found.mappings()]


def _contents(connection: Connection, ended: Sequence[Row]) -> list[dict[str, Any]]:
    ids = [row["bot_id"] for row in ended]
    links, recordings = _by_bot(links_of(connection, ids)), _recordings(connection, ids)
    return [
        {
            **{name: row[name] for name in _BOT},
            "recordings": [
                {name: one[name] for name in _RECORDING} for one in recordings.get(bot_id, ())
            ],
            "links": [dict(link) for link in links.get(bot_id, ())],
        }
        for bot_id, row in zip(ids, ended, strict=True)
    ]


def _recordings(connection: Connection, ids: Sequence[str]) -> dict[str, list[Row]]:
    columns = [column.label(name) for name, column in _RECORDING.items()]
    wanted = select(Recording.bot_id, *columns).where(Recording.bot_id.in_(ids))
    return _by_bot(connection.execute(wanted.order_by(Recording.id)).mappings())


def _by_bot(rows: Any) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["bot_id"], []).append(row)
    return found


def _digest(data: Mapping[str, Any]) -> str:
    # Not when a link was last touched: that a reader sees nothing new is what this is for.
    links = [{k: v for k, v in link.items() if k != "updated_at"} for link in data["links"]]
    words = json.dumps(plain({**data, "links": links}), sort_keys=True)
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:32]
