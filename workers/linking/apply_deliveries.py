"""Deliveries into bots: status history, the current status, and what is due. No network in here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import structlog
from sqlalchemy import Connection, Row, Table, case, func, select, text, update

from models.core.bot_status import TERMINAL, UNINFORMATIVE, Status
from models.core.database_errors import is_bad_row
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from models.tables.delivery import Delivery
from workers.db.transactions import Database, in_transaction
from workers.db.upsert import Insert, insert_into, upsert
from workers.privacy.redact import empty_bodies, erased_bots

BATCH = 500
# Any number will do, as long as no other lock of this database uses it.
APPLY_LOCK = 7_203_114_002
_BOTS = cast("Table", Bot.__table__)
_STATUSES = cast("Table", BotStatus.__table__)

logger = structlog.stdlib.get_logger(__name__)

Delivered = Row[*tuple[Any, ...]]
Applier = Callable[[Connection, Sequence[Delivered]], None]


@dataclass(frozen=True, slots=True)
class Standing:
    """A bot as far as applying cares: its current status, and how often it became due."""

    bot_id: str
    status: Status
    seen_at: datetime
    due_seq: int = 0
    is_owed_anew: bool = False

    def after(self, status: Status) -> "Standing":
        """Return how the bot stands after one more status; in whatever order they come."""
        # One look at the first word of a bot and one at its last: nothing between tells anything
        # new.
        first_informative = self.due_seq == 0 and status.code not in UNINFORMATIVE
        first_terminal = status.code in TERMINAL and self.status.code not in TERMINAL
        is_owed_anew = first_informative or first_terminal
        return replace(
            self,
            # A maximum does not mind order or repeats: any shuffle of the same events ends the
            # same.
            status=max(self.status, status, key=lambda s: s.key),
            due_seq=self.due_seq + is_owed_anew,
            is_owed_anew=self.is_owed_anew or is_owed_anew,
        )


def apply_all(database: Database) -> int:
    """Apply every unapplied delivery, a transaction a batch; returns how many there were."""
    total = 0
    while applied := apply_batch(database):
        total += applied
        if applied < BATCH:
            break
    return total


def apply_batch(database: Database, size: int = BATCH) -> int:
    """Apply one batch; a batch that fails is tried again row by row, so one row blocks no other."""
    try:
        return in_transaction(database, lambda connection: _apply_next(connection, size, _apply))
    except Exception as error:
        if not is_bad_row(error):
            raise
        logger.warning("a batch of deliveries did not apply, going row by row")
    return in_transaction(
        database, lambda connection: _apply_next(connection, size, _apply_one_by_one)
    )


def _apply_next(connection: Connection, size: int, by: Applier) -> int:
    rows = _next_rows(connection, size)
    by(connection, rows)
    return len(rows)


def _next_rows(connection: Connection, size: int) -> Sequence[Delivered]:
    apply_alone(connection)
    wanted = (
        select(
            Delivery.id,
            Delivery.bot_id,
            Delivery.code,
            Delivery.sub_code,
            Delivery.message,
            Delivery.occurred_at,
            Delivery.received_at,
        )
        .where(text(Delivery.IS_UNAPPLIED))
        .order_by(Delivery.received_at)
        .limit(size)
    )
    # The longest waiting, then by bot, so that two writers lock bots in one order.
    return sorted(connection.execute(wanted), key=lambda row: (row.bot_id or "", row.received_at))


def apply_alone(connection: Connection) -> None:
    """Hold off every other applier until this transaction ends."""
    if connection.dialect.name == "postgresql":
        # Waiting, not trying: whoever holds it may have read before our delivery was committed.
        connection.execute(select(func.pg_advisory_xact_lock(APPLY_LOCK)))


def _apply(connection: Connection, rows: Sequence[Delivered]) -> None:
    if not rows:
        return
    on_file = read_standings(connection, {row.bot_id for row in rows})
    standings = fold(on_file, rows)
    write_standings(connection, standings.values())
    upsert(connection, _STATUSES, [_status_row(row) for row in rows])
    applied = update(Delivery).where(Delivery.id.in_([row.id for row in rows]))
    connection.execute(applied.values(applied_at=db_now()))
    if erased := erased_bots(connection, standings):
        empty_bodies(connection, erased)


def fold(on_file: Mapping[str, Standing], rows: Iterable[Delivered]) -> dict[str, Standing]:
    """Return how each bot stands after these deliveries."""
    standings: dict[str, Standing] = {}
    for row in rows:
        before = standings.get(row.bot_id) or on_file.get(row.bot_id)
        if before is None:
            before = Standing(row.bot_id, _status(row), row.received_at)
        standings[row.bot_id] = before.after(_status(row))
    return standings


def _apply_one_by_one(connection: Connection, rows: Sequence[Delivered]) -> None:
    for row in rows:
        _apply_one(connection, row)


def _apply_one(connection: Connection, row: Delivered) -> None:
    try:
        # A savepoint each: what this row spoils is undone, what the others wrote stays.
        with connection.begin_nested():
            _apply(connection, [row])
    except Exception as error:
        if not is_bad_row(error):
            raise
        logger.exception("delivery cannot be applied", delivery_id=row.id)
        malformed = {"outcome": "malformed", "reason": "apply_failed"}
        connection.execute(update(Delivery).where(Delivery.id == row.id).values(malformed))


def read_standings(connection: Connection, bot_ids: set[str]) -> dict[str, Standing]:
    """Read how these bots stand, and lock them."""
    found = connection.execute(
        select(Bot.id, Bot.status, Bot.sub_code, Bot.status_at, Bot.first_seen_at, Bot.due_seq)
        .where(Bot.id.in_(bot_ids))
        .order_by(Bot.id)
        # A settle may be writing the same bot: locked until our own write is committed.
        .with_for_update()
    )
    return {
        row.id: Standing(
            row.id,
            Status(row.status, row.status_at, row.sub_code),
            row.first_seen_at,
            row.due_seq,
        )
        for row in found
    }


def write_standings(connection: Connection, standings: Iterable[Standing]) -> None:
    """Write how bots stand; what became owed anew is due now."""
    ordered = sorted(standings, key=lambda standing: standing.bot_id)
    # Two statements, because an executemany sets the same columns for all its rows.
    for is_owed_anew in (False, True):
        rows = [_bot_row(s) for s in ordered if s.is_owed_anew is is_owed_anew]
        if rows:
            connection.execute(_bots_upsert(connection, is_owed_anew=is_owed_anew), rows)


def _bots_upsert(connection: Connection, *, is_owed_anew: bool) -> Insert:
    statement = insert_into(connection, _BOTS)
    changed: dict[str, Any] = {
        name: statement.excluded[name] for name in ("status", "sub_code", "status_at", "due_seq")
    }
    if is_owed_anew:
        owed = {"due_at": db_now(), "owed_since": db_now()}
        statement = statement.values(**owed)
        # A bot that was given up gets another chance with every new reason.
        failed = case((Bot.link_state == "failed", "pending"), else_=Bot.link_state)
        changed |= {**owed, "attempts": 0, "crashes": 0, "link_state": failed}
    return statement.on_conflict_do_update(index_elements=["id"], set_=changed)


def _bot_row(standing: Standing) -> dict[str, Any]:
    return {
        "id": standing.bot_id,
        "status": standing.status.code,
        "sub_code": standing.status.sub_code,
        "status_at": standing.status.occurred_at,
        "first_seen_at": standing.seen_at,
        "due_seq": standing.due_seq,
    }


def _status(row: Delivered) -> Status:
    return Status(row.code, row.occurred_at, row.sub_code, row.message, row.id)


def _status_row(row: Delivered) -> dict[str, Any]:
    return {
        "bot_id": row.bot_id,
        "code": row.code,
        "occurred_at": row.occurred_at,
        "sub_code": row.sub_code,
        "message": row.message,
        "delivery_id": row.id,
    }
