"""Merges a page of List Bots into the database, and counts what no webhook had reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Float, Table, bindparam, select, update

from models.core.bot_status import POST_TERMINAL, TERMINAL, UNINFORMATIVE, Status
from models.core.media_events import MEDIA_EXPIRED
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from workers.db.upsert import upsert
from workers.linking.apply_deliveries import (
    BotState,
    apply_alone,
    read_bot_states,
    write_bot_states,
)
from workers.outbox.ended import correct_ended
from workers.outbox.links import watch_links
from workers.recall_api.bot_list import ListedBot
from workers.recordings.bot_outcomes import refresh_outcomes
from workers.recordings.write import expire_recordings

_STATUSES = cast("Table", BotStatus.__table__)
# A younger status may still arrive: Svix sends its second retry after five minutes.
GRACE = timedelta(minutes=10)
# Newer webhooks send these under other names or not at all, so they do not count as missed.
NEVER_SENT = UNINFORMATIVE | POST_TERMINAL | {"recording_done", "participant_in_waiting_room"}

Known = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Merged:
    """How many bots and statuses no webhook had reported, and how many bots became due."""

    bots_missed: int = 0
    statuses_missed: int = 0
    bots_due: int = 0


@dataclass(frozen=True, slots=True)
class _Unreported:
    bot: ListedBot
    statuses: tuple[Status, ...]
    is_new: bool
    missed: int


def merge(
    connection: Connection,
    bots: Sequence[ListedBot],
    now: datetime,
    first_due_in: float,
    step: float,
) -> Merged:
    """Store the statuses of these bots; bots that become due are due `step` seconds apart."""
    apply_alone(connection)
    ids = {bot.id for bot in bots}
    stored = read_bot_states(connection, ids)
    known = _known_statuses(connection, ids)
    found = [_compare(bot, known.get(bot.id, ()), now, is_new=bot.id not in stored) for bot in bots]
    # A bot that was only created sends its webhooks once it joins.
    news = [one for one in found if one.statuses and not (one.is_new and _is_idle(one))]
    states = [_state_after(one, stored.get(one.bot.id), now) for one in news]
    with watch_links(connection, bot_ids=stored):
        write_bot_states(connection, states)
        rows = [_row(one.bot.id, status) for one in news for status in one.statuses]
        upsert(connection, _STATUSES, rows)
        expired = {r["bot_id"] for r in rows if r["code"] == MEDIA_EXPIRED}
        recordings = expire_recordings(connection, expired)
        # All of them: of some an older release may have written the last status.
        changed = {*refresh_outcomes(connection, ids)}
    changed |= {row["bot_id"] for row in rows if row["code"] in TERMINAL}
    correct_ended(connection, changed | {change.bot_id for change in recordings})
    due = sorted(state.bot_id for state in states if state.becomes_due)
    _stagger(connection, due, first_due_in, step)
    return Merged(
        bots_missed=sum(one.is_new and one.missed > 0 for one in news),
        statuses_missed=sum(one.missed for one in news),
        bots_due=len(due),
    )


def _known_statuses(connection: Connection, ids: set[str]) -> Known:
    columns = (BotStatus.bot_id, BotStatus.code, BotStatus.occurred_at)
    known: dict[str, list[Any]] = {}
    for row in connection.execute(select(*columns).where(BotStatus.bot_id.in_(ids))):
        known.setdefault(row.bot_id, []).append(row)
    return known


def _compare(bot: ListedBot, known: Sequence[Any], now: datetime, *, is_new: bool) -> _Unreported:
    def is_known(status: Status) -> bool:
        return any(status.is_same(row.code, row.occurred_at) for row in known)

    # Deduplicated by the key of the table, so as to count what is stored.
    unseen = {(s.code, s.occurred_at): s for s in bot.statuses if not is_known(s)}
    missed = sum(s.code not in NEVER_SENT and s.occurred_at < now - GRACE for s in unseen.values())
    return _Unreported(bot, tuple(unseen.values()), is_new, missed)


def _is_idle(one: _Unreported) -> bool:
    return all(status.code in UNINFORMATIVE for status in one.statuses)


def _state_after(one: _Unreported, before: BotState | None, now: datetime) -> BotState:
    state = before or BotState(one.bot.id, one.statuses[0], now)
    for status in one.statuses:
        state = state.after(status)
    return state


def _row(bot_id: str, status: Status) -> dict[str, Any]:
    # No delivery: that is how `explain` distinguishes these from statuses of webhooks.
    return {
        "bot_id": bot_id,
        "code": status.code,
        "occurred_at": status.occurred_at,
        "sub_code": status.sub_code,
        "message": status.message,
        "delivery_id": None,
    }


def _stagger(connection: Connection, ids: Sequence[str], first_in: float, step: float) -> None:
    if ids:
        later = update(Bot).where(Bot.id == bindparam("bot"))
        wait = bindparam("wait", type_=Float())
        connection.execute(
            later.values(due_at=db_now(wait)).execution_options(synchronize_session=False),
            [{"bot": one, "wait": first_in + n * step} for n, one in enumerate(ids)],
        )
