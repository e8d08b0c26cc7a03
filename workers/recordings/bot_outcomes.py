"""Writes the outcomes of bots: computed again from all that is stored, whatever changed."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, Update, bindparam, select, update

from models.core.bot_outcome import (
    ENDS,
    TELLING_CODES,
    BotOutcome,
    MediaSpan,
    essential_statuses,
    join_histories,
    outcome_from_history,
)
from models.core.bot_status import TERMINAL, Status
from models.tables.bot import Bot, BotStatus
from models.tables.recording import Recording
from workers.outbox.ended import correct_ended
from workers.outbox.links import watch_links
from workers.recordings.missed import resolve_recorded
from workers.recordings.state import was_done

EVERY_SECONDS = 60.0
BATCH = 500
_BOTS = cast("Table", Bot.__table__)
_COLUMNS = ("recorded", "recorded_from", "recorded_until", "ended_sub_code")


@dataclass(frozen=True, slots=True)
class _Known:
    """What a bot's row has of its outcome, and of what its body said."""

    outcome: BotOutcome
    body_statuses: frozenset[Status] = frozenset()


def refresh_outcomes(
    connection: Connection,
    bot_ids: Collection[str],
    bodies: Mapping[str, Iterable[Status]] = MappingProxyType({}),
) -> list[str]:
    """Write what came of these bots, in the caller's transaction; returns whose has changed.

    Call it after writing a status or a recording, or with the statuses of the bodies that were
    fetched. A bot that is not on file yet is passed over: the status that makes its row comes
    here too.
    """
    if not bot_ids:
        return []
    # Locked before the history is read: what another writer commits meanwhile is then seen.
    before = _locked(connection, bot_ids)
    media, history = _media(connection, bot_ids), _history(connection, bot_ids)
    after = {}
    for bot_id, old in before.items():
        # Once seen it stays, so that neither an older body nor a shorter one takes anything back.
        body = essential_statuses([*old.body_statuses, *bodies.get(bot_id, ())])
        new = outcome_from_history(join_histories(history[bot_id], body), media[bot_id])
        after[bot_id] = _Known(_truer(old.outcome, new), body)
    return _write(connection, before, after)


def refresh_reported(connection: Connection, statuses: Collection[tuple[str, str]]) -> set[str]:
    """Do the same where (bot, code) of the statuses just written say something of an outcome.

    Returns the bots whose outcome has changed or whose status may have, of those that ended.
    """
    telling = {bot_id for bot_id, code in statuses if code in TELLING_CODES}
    changed = refresh_outcomes(connection, telling)
    # An ended bot's status is changed by another end alone.
    return {*changed, *(bot_id for bot_id, code in statuses if code in TERMINAL)}


class OutcomeFill:
    """Looks once a minute for ended bots without an outcome: a release before 0014 wrote them."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._next_at = clock()

    def fill_when_due(self) -> int:
        """Fill in the outcomes that are missing, a batch at a time; returns of how many bots."""
        if self._clock() < self._next_at:
            return 0
        with self._engine.begin() as connection:
            filled = fill_outcomes(connection, BATCH)
        # A full batch is not the last: the next sweep goes on.
        self._next_at = self._clock() + (0 if filled == BATCH else EVERY_SECONDS)
        return filled


def fill_outcomes(connection: Connection, limit: int) -> int:
    """Fill in the outcome of ended bots that have none; returns of how many."""
    ended = (
        select(BotStatus.code)
        .where(BotStatus.bot_id == Bot.id, BotStatus.code.in_(ENDS))
        # A look-up a bot: as a join it would read the statuses of every bot there ever was.
        .limit(1)
        .scalar_subquery()
    )
    unfilled = select(Bot.id).where(Bot.recorded.is_(None), ended.is_not(None))
    unfilled = unfilled.order_by(Bot.first_seen_at, Bot.id).limit(limit)
    # A bot that somebody writes just now is looked at again a minute later.
    found = connection.scalars(unfilled.with_for_update(skip_locked=True)).all()
    with watch_links(connection, bot_ids=found):
        changed = refresh_outcomes(connection, found)
    correct_ended(connection, changed)
    return len(found)


def _write(
    connection: Connection, before: Mapping[str, _Known], after: Mapping[str, _Known]
) -> list[str]:
    rows = [_row(bot_id, new) for bot_id, new in after.items() if new != before[bot_id]]
    if rows:
        connection.execute(_written(), rows)
    changed = [key for key, new in after.items() if new.outcome != before[key].outcome]
    if changed:
        resolve_recorded(connection, [key for key in changed if after[key].outcome.recorded])
    return changed


def _locked(connection: Connection, bot_ids: Collection[str]) -> dict[str, _Known]:
    columns = [getattr(Bot, name) for name in _COLUMNS]
    # In the order of their ids, as every writer of bots does.
    asked = select(Bot.id, Bot.body_statuses, *columns).where(Bot.id.in_(bot_ids)).order_by(Bot.id)
    return {
        row.id: _Known(BotOutcome(*row[2:]), _from_json(row.body_statuses))
        for row in connection.execute(asked.with_for_update())
    }


def _history(connection: Connection, bot_ids: Collection[str]) -> Mapping[str, list[Status]]:
    columns = (BotStatus.bot_id, BotStatus.code, BotStatus.occurred_at, BotStatus.sub_code)
    telling = select(*columns).where(
        BotStatus.bot_id.in_(bot_ids), BotStatus.code.in_(TELLING_CODES)
    )
    history: dict[str, list[Status]] = defaultdict(list)
    for row in connection.execute(telling):
        history[row.bot_id].append(Status(row.code, row.occurred_at, row.sub_code))
    return history


def _media(connection: Connection, bot_ids: Collection[str]) -> Mapping[str, list[MediaSpan]]:
    spans = (Recording.bot_id, Recording.started_at, Recording.completed_at)
    theirs = select(*spans, Recording.status, Recording.status_times)
    media: dict[str, list[MediaSpan]] = defaultdict(list)
    for row in connection.execute(theirs.where(Recording.bot_id.in_(bot_ids))):
        if was_done(row.status, row.status_times):
            media[row.bot_id].append(MediaSpan(row.started_at, row.completed_at))
    return media


def _truer(old: BotOutcome, new: BotOutcome) -> BotOutcome:
    # What was recorded was recorded, also when nothing of it is kept any more.
    if old.recorded and not new.recorded:
        return replace(old, ended_sub_code=new.ended_sub_code)
    return new


@cache
def _written() -> Update:
    names = (*_COLUMNS, "body_statuses")
    columns = {name: bindparam(f"new_{name}", type_=_BOTS.c[name].type) for name in names}
    return update(_BOTS).where(_BOTS.c.id == bindparam("bot_id")).values(columns)


def _row(bot_id: str, new: _Known) -> dict[str, Any]:
    values = {f"new_{name}": getattr(new.outcome, name) for name in _COLUMNS}
    return values | {"bot_id": bot_id, "new_body_statuses": _as_json(new.body_statuses)}


def _as_json(statuses: Iterable[Status]) -> list[list[str | None]] | None:
    found = [[s.occurred_at.isoformat(), s.code, s.sub_code] for s in statuses]
    return sorted(found, key=str) or None


def _from_json(stored: list[list[str]] | None) -> frozenset[Status]:
    return frozenset(
        Status(code, datetime.fromisoformat(at), sub_code) for at, code, sub_code in stored or ()
    )
