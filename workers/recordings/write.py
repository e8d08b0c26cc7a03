"""Writes recordings, from the bodies of bots and from webhooks, in whatever order they come."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, Table, Update, bindparam, func, select, update

from models.core.media_events import MEDIA_EXPIRED, MediaNews, read_media_ids
from models.tables.base import db_now
from models.tables.bot import BotStatus
from models.tables.delivery import Delivery
from models.tables.recording import Recording
from workers.db.upsert import insert_into
from workers.recall_api.recording_schemas import RecordingBody
from workers.recordings.events import Change
from workers.recordings.state import UNKNOWN, RecordingState, fold

# A body may have 256 KiB: not a batch of them at once.
BODIES = 50
_RECORDINGS = cast("Table", Recording.__table__)
_COLUMNS = tuple(field.name for field in fields(RecordingState))

News = Mapping[str, Sequence[MediaNews]]
Bodies = Mapping[str, Sequence[RecordingBody]]


def save_recordings(connection: Connection, bodies: Bodies) -> list[Change]:
    """Write the recordings of the bodies of bots; returns what has changed."""
    found = {body.id: body for recordings in bodies.values() for body in recordings}
    whose = {body.id: bot_id for bot_id, recordings in bodies.items() for body in recordings}
    return _write(connection, whose, {key: body.news for key, body in found.items()}, found)


def apply_media(connection: Connection, rows: Iterable[Any]) -> list[Change]:
    """Write what accepted webhooks about media say; returns what has changed.

    The ids are read here, from the stored body: the columns of deliveries are for every webhook,
    and these ids are asked for once, seconds after the body was stored.
    """
    news: dict[str, list[MediaNews]] = defaultdict(list)
    whose: dict[str, str] = {}
    for row, body in _with_bodies(connection, list(rows)):
        kind, _, code = row.event.partition(".")
        if (ids := read_media_ids(body, kind)) is not None:
            recording_id, artifact_id = ids
            whose.setdefault(recording_id, row.bot_id)
            one = MediaNews(recording_id, kind, artifact_id, code, row.occurred_at)
            news[recording_id].append(one)
    return _write(connection, whose, news, {})


def expire_recordings(connection: Connection, bot_ids: Collection[str]) -> list[Change]:
    """Mark the recordings of those of these bots whose media has expired, as a status says."""
    expired = _expiries(connection, bot_ids)
    if not expired:
        return []
    theirs = select(Recording.id, Recording.bot_id).where(Recording.bot_id.in_(expired))
    whose = {row.id: row.bot_id for row in connection.execute(theirs)}
    return _write(connection, whose, {}, {})


def _with_bodies(connection: Connection, rows: Sequence[Any]) -> Iterable[tuple[Any, bytes]]:
    for start in range(0, len(rows), BODIES):
        part = rows[start : start + BODIES]
        kept = select(Delivery.id, Delivery.body).where(Delivery.id.in_([row.id for row in part]))
        bodies = {row.id: row.body for row in connection.execute(kept)}
        yield from ((row, bodies[row.id]) for row in part)


def _write(
    connection: Connection,
    whose: Mapping[str, str],
    news: News,
    bodies: Mapping[str, RecordingBody],
) -> list[Change]:
    if not whose:
        return []
    before = _locked(connection, whose)
    expired = _expiries(connection, {bot_id for bot_id, _ in before.values()})
    changed: dict[str, RecordingState] = {}
    for key, (bot_id, state) in before.items():
        after = fold(state, news.get(key, ()))
        if key in bodies:
            after = after.with_times(bodies[key])
        # Last, so that it does not matter whether the recording or its end came first.
        if bot_id in expired:
            after = after.expired(expired[bot_id])
        if (after := after.noted()) != state:
            changed[key] = after
    if changed:
        rows = [{"key": key} | _values(state) for key, state in changed.items()]
        connection.execute(_update(), rows)
    return [Change(key, *before[key], changed[key]) for key in changed]


def _locked(
    connection: Connection, whose: Mapping[str, str]
) -> dict[str, tuple[str, RecordingState]]:
    # Rows first: what is not there cannot be locked, and two writers may bring the same one.
    new = insert_into(connection, _RECORDINGS).on_conflict_do_nothing(index_elements=["id"])
    blank = {"status": UNKNOWN, "source": "webhook"}
    ids = sorted(whose)
    connection.execute(
        new.values(seen_at=db_now()), [{"id": key, "bot_id": whose[key], **blank} for key in ids]
    )
    columns = [_RECORDINGS.c[name] for name in _COLUMNS]
    rows = select(Recording.id, Recording.bot_id, *columns).where(Recording.id.in_(ids))
    found = connection.execute(rows.order_by(Recording.id).with_for_update())
    return {row.id: (row.bot_id, _state(row)) for row in found}


def _state(row: Any) -> RecordingState:
    values = {name: getattr(row, name) for name in _COLUMNS}
    state = RecordingState(**values | {"status_times": row.status_times or {}})
    # An older release reported what is ready, and noted nothing.
    return state.noted()


def _expiries(connection: Connection, bot_ids: Collection[str]) -> dict[str, datetime]:
    is_end = (BotStatus.bot_id.in_(bot_ids), BotStatus.code == MEDIA_EXPIRED)
    ends = select(BotStatus.bot_id, func.max(BotStatus.occurred_at)).where(*is_end)
    return {row[0]: row[1] for row in connection.execute(ends.group_by(BotStatus.bot_id))}


@cache
def _update() -> Update:
    values = {name: bindparam(f"new_{name}", type_=_RECORDINGS.c[name].type) for name in _COLUMNS}
    return update(_RECORDINGS).where(_RECORDINGS.c.id == bindparam("key")).values(values)


def _values(state: RecordingState) -> dict[str, Any]:
    return {f"new_{name}": value for name, value in asdict(state).items()}
