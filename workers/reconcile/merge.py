"""A page of List Bots into SQL: the statuses that no webhook told, and how many they were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Float, Table, bindparam, select, update

from models.core.bot_status import POST_TERMINAL, UNINFORMATIVE, Status
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from workers.db.upsert import upsert
from workers.linking.apply_deliveries import Standing, apply_alone, read_standings, write_standings
from workers.recall_api.bot_list import ListedBot

_STATUSES = cast("Table", BotStatus.__table__)
# That both clocks' texts are equal is nowhere promised; one code twice within a second is one.
SAME_WITHIN = timedelta(seconds=1)
# Younger ones may still be on their way: the sender's second retry comes after five minutes.
GRACE = timedelta(minutes=10)
# The newer webhooks tell these under other names, or not at all: nothing was missed.
NEVER_SENT = UNINFORMATIVE | POST_TERMINAL | {"recording_done", "participant_in_waiting_room"}

Known = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Merged:
    """What a page told that no webhook had: bots, statuses, and how many bots became due."""

    bots_missed: int = 0
    statuses_missed: int = 0
    bots_due: int = 0


@dataclass(frozen=True, slots=True)
class _News:
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
    """Add what these bots say of themselves; those that become due do so `step` seconds apart."""
    apply_alone(connection)
    ids = {bot.id for bot in bots}
    on_file = read_standings(connection, ids)
    known = _known_statuses(connection, ids)
    news = [_news(bot, known.get(bot.id, ()), now, is_new=bot.id not in on_file) for bot in bots]
    # A bot that has only been made will tell of itself once it joins.
    news = [one for one in news if one.statuses and not (one.is_new and _is_idle(one))]
    standings = [_standing(one, on_file.get(one.bot.id), now) for one in news]
    write_standings(connection, standings)
    upsert(connection, _STATUSES, [_row(one.bot.id, s) for one in news for s in one.statuses])
    due = sorted(standing.bot_id for standing in standings if standing.is_owed_anew)
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


def _news(bot: ListedBot, known: Sequence[Any], now: datetime, *, is_new: bool) -> _News:
    def is_known(status: Status) -> bool:
        return any(
            row.code == status.code and abs(row.occurred_at - status.occurred_at) < SAME_WITHIN
            for row in known
        )

    # Equal keys would be one row all the same, but would count twice.
    unheard = {(s.code, s.occurred_at): s for s in bot.statuses if not is_known(s)}
    missed = sum(s.code not in NEVER_SENT and s.occurred_at < now - GRACE for s in unheard.values())
    return _News(bot, tuple(unheard.values()), is_new, missed)


def _is_idle(news: _News) -> bool:
    return all(status.code in UNINFORMATIVE for status in news.statuses)


def _standing(news: _News, before: Standing | None, now: datetime) -> Standing:
    standing = before or Standing(news.bot.id, news.statuses[0], now)
    for status in news.statuses:
        standing = standing.after(status)
    return standing


def _row(bot_id: str, status: Status) -> dict[str, Any]:
    # No delivery: that is how explain tells what a webhook said from what was found here.
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
