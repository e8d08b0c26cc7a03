"""Leases of bots: claimed, renewed and released by the database's clock."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from models.core.bot_status import TERMINAL
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from workers.linking.types import Claim, KnownLink
from workers.outbox.ended import report_ended
from workers.outbox.links import lock_bots, watch_links
from workers.recall_api.schemas import MeetingRef

# Deploys and restarts end claims too, but eight crashes in a row are caused by the bot.
CRASH_LIMIT = 8
# From here on a bot is linked alone, so that a crash affects no other bot.
SUSPECT_CRASHES = 2

Found = Row[*tuple[Any, ...]]


def claimable() -> ColumnElement[bool]:
    """Return the condition of a bot that is due and not leased."""
    is_free = or_(Bot.lease_until.is_(None), Bot.lease_until < db_now())
    return and_(Bot.due_at.is_not(None), Bot.due_at <= db_now(), is_free)


def any_claimable(connection: Connection) -> bool:
    """Whether any bot is due and not leased."""
    return bool(connection.scalar(select(exists().where(claimable()))))


def claim(connection: Connection, count: int, lease_seconds: float) -> list[Claim]:
    """Lease up to `count` due bots, longest due first, without those that crashed workers."""
    return _lease(connection, count, lease_seconds)


def claim_suspect(connection: Connection, lease_seconds: float) -> list[Claim]:
    """Lease the longest-due bot if it crashed workers, to be linked alone; or give it up."""
    row = connection.execute(_first_due()).one_or_none()
    # Only if it is first in line: a suspect must not overtake other bots.
    if row is None or row.crashes < SUSPECT_CRASHES:
        return []
    if row.crashes >= CRASH_LIMIT:
        fail_crash_loop(connection, row.id)
        return claim_suspect(connection, lease_seconds)
    return _lease(connection, 1, lease_seconds, only=row.id)


@cache
def _first_due() -> Select[str, int]:
    return select(Bot.id, Bot.crashes).where(claimable()).order_by(Bot.due_at).limit(1)


def fail_crash_loop(connection: Connection, bot_id: str) -> None:
    """Give up a bot whose last claims have all ended in a crash."""
    lock_bots(connection, [bot_id])
    # Checked again in the update: another worker may have claimed or saved it meanwhile.
    looping = update(Bot).where(Bot.id == bot_id, claimable(), Bot.crashes >= CRASH_LIMIT)
    with watch_links(connection, bot_ids=[bot_id]):
        connection.execute(
            looping.values(
                link_state="failed",
                last_error=f"crash_loop: {CRASH_LIMIT} workers in a row died linking this bot",
                due_at=null(),
                lease_token=null(),
                lease_until=null(),
                settled_at=db_now(),
            )
        )
    report_ended(connection, [bot_id])


def renew(connection: Connection, claims: Iterable[Claim], lease_seconds: float) -> None:
    """Extend the leases that are still ours."""
    _update_ours(connection, claims, {"lease_until": db_now(lease_seconds)})


def release(connection: Connection, claims: Iterable[Claim]) -> None:
    """Release bots unchanged: still due, and without a crash."""
    free = {"lease_token": null(), "lease_until": null(), "crashes": 0}
    _update_ours(connection, claims, free)


def _update_ours(
    connection: Connection, claims: Iterable[Claim], values: Mapping[str, Any]
) -> None:
    rows = [{"ours": one.bot_id, "lease": one.lease_token} for one in claims]
    if rows:
        is_ours = and_(Bot.id == bindparam("ours"), Bot.lease_token == bindparam("lease"))
        connection.execute(
            update(Bot).where(is_ours).values(values).execution_options(synchronize_session=False),
            sorted(rows, key=lambda row: row["ours"]),
        )


def _lease(
    connection: Connection, count: int, lease_seconds: float, only: str | None = None
) -> list[Claim]:
    given = {"most": count, "seconds": lease_seconds, "only": only, "token": uuid4().hex}
    leased = connection.execute(_lease_update(is_one=only is not None), given).all()
    known = _known_links(connection, [row.id for row in leased])
    return [_claim(row, known.get(row.id, {})) for row in leased]


@cache
def _lease_update(*, is_one: bool) -> ReturningUpdate[*tuple[Any, ...]]:
    which = Bot.id == bindparam("only") if is_one else Bot.crashes < SUSPECT_CRASHES
    # A CTE, since PostgreSQL may run a subquery several times and so exceed its limit.
    chosen = (
        select(Bot.id)
        .where(claimable(), which)
        .order_by(Bot.due_at)
        .limit(bindparam("most", type_=Integer()))
        # A locked row is being leased by another worker.
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    return (
        update(Bot)
        .where(Bot.id.in_(select(chosen.c.id)))
        .values(
            # One token for the whole batch; no other worker knows it, and so it fences our writes.
            lease_token=bindparam("token"),
            lease_until=db_now(bindparam("seconds", type_=Float())),
            # Counted in advance: a process that is killed cannot write afterwards.
            crashes=Bot.crashes + 1,
        )
        .returning(
            Bot.id,
            Bot.due_seq,
            Bot.lease_token,
            Bot.status,
            Bot.attempts,
            Bot.owed_since,
            Bot.fetched_at,
            Bot.sealed_at,
            Bot.first_seen_at,
            Bot.settled_at,
            db_now().label("claimed_at"),
        )
    )


def _claim(row: Found, known: dict[str, KnownLink]) -> Claim:
    owed_since: datetime = row.owed_since or row.claimed_at
    return Claim(
        bot_id=row.id,
        due_seq=row.due_seq,
        lease_token=row.lease_token,
        claimed_at=row.claimed_at,
        attempts=row.attempts,
        owed_seconds=(row.claimed_at - owed_since).total_seconds(),
        is_fetched=row.fetched_at is not None and row.fetched_at >= owed_since,
        is_terminal=row.status in TERMINAL,
        is_sealed=row.sealed_at is not None,
        waited_seconds=_waited_seconds(row),
        known=known,
    )


def _waited_seconds(row: Found) -> float | None:
    if row.settled_at is not None:
        return None
    waited: timedelta = row.claimed_at - row.first_seen_at
    return waited.total_seconds()


def _known_links(connection: Connection, bot_ids: Sequence[str]) -> dict[str, dict[str, KnownLink]]:
    found = connection.execute(_links_on_file(), {"keys": list(bot_ids)})
    known: dict[str, dict[str, KnownLink]] = {}
    for row in found:
        ref = MeetingRef(
            row.meeting_id, row.seen_start, row.seen_end, row.calendar_user_id, row.external_id
        )
        link = KnownLink(ref, row.state, is_open=row.ended_at is None)
        known.setdefault(row.bot_id, {})[row.meeting_id] = link
    return known


@cache
def _links_on_file() -> Select[*tuple[Any, ...]]:
    return (
        select(
            Link.bot_id,
            Link.meeting_id,
            Link.seen_start,
            Link.seen_end,
            Link.calendar_user_id,
            Link.external_id,
            Link.ended_at,
            CalendarMeeting.state,
        )
        # Read with the claim, since link threads have no SQL.
        .join(CalendarMeeting, CalendarMeeting.id == Link.meeting_id)
        .where(Link.bot_id.in_(bindparam("keys", expanding=True)))
    )


Lease = tuple[str, str]


def leases(connection: Connection) -> frozenset[Lease]:
    """Return the leased bots, each with its lease token."""
    held = select(Bot.id, Bot.lease_token).where(Bot.lease_until > db_now())
    return frozenset((row.id, row.lease_token) for row in connection.execute(held))
