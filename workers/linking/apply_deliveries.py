"""Applies deliveries to bots: status history, current status, and what is due. No network."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import structlog
from sqlalchemy import ColumnElement, Connection, Row, Table, case, func, select, text, update

from models.core.bot_status import TERMINAL, UNINFORMATIVE, Status
from models.core.database_errors import is_bad_row
from models.core.media_events import MEDIA_EXPIRED, media_kind
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from models.tables.delivery import Delivery
from workers.db.transactions import Database, in_transaction
from workers.db.upsert import Insert, insert_into, upsert
from workers.outbox.ended import correct_ended
from workers.outbox.links import watch_links
from workers.privacy.redact import empty_bodies, erased_bots
from workers.recordings.bot_outcomes import refresh_outcomes, refresh_reported
from workers.recordings.events import Change, report_ready
from workers.recordings.write import apply_media, expire_recordings

BATCH = 500
# Any number that no other advisory lock of this database uses.
APPLY_LOCK = 7_203_114_002
_BOTS = cast("Table", Bot.__table__)
_STATUSES = cast("Table", BotStatus.__table__)

logger = structlog.stdlib.get_logger(__name__)

Delivered = Row[*tuple[Any, ...]]
Applier = Callable[[Connection, Sequence[Delivered]], None]


@dataclass(frozen=True, slots=True)
class BotState:
    """What applying needs of a bot: its current status, and how often it became due."""

    bot_id: str
    status: Status
    seen_at: datetime
    due_seq: int = 0
    becomes_due: bool = False

    def after(self, status: Status) -> "BotState":
        """Return the state after one more status; the order of statuses does not matter."""
        # A bot is looked up twice: at its first status, and at its last. Nothing new is to be had
        # in between.
        first_informative = self.due_seq == 0 and status.code not in UNINFORMATIVE
        first_terminal = status.code in TERMINAL and self.status.code not in TERMINAL
        becomes_due = first_informative or first_terminal
        return replace(
            self,
            # The maximum, so that reordered and repeated events end in the same state.
            status=max(self.status, status, key=lambda s: s.key),
            due_seq=self.due_seq + becomes_due,
            becomes_due=self.becomes_due or becomes_due,
        )


def apply_all(database: Database) -> int:
    """Apply every unapplied delivery, one transaction a batch; returns how many there were."""
    total = 0
    while applied := apply_batch(database):
        total += applied
        if applied < BATCH:
            break
    return total


def apply_batch(database: Database, size: int = BATCH) -> int:
    """Apply one batch; if that fails, row by row, so that a bad row blocks no other."""
    try:
        return in_transaction(database, lambda connection: _apply_next(connection, size, _apply))
    except Exception as error:
        if not is_bad_row(error):
            raise
        logger.warning("batch of deliveries failed, applying one by one")
    return in_transaction(
        database, lambda connection: _apply_next(connection, size, _apply_one_by_one)
    )


def _apply_next(connection: Connection, size: int, by: Applier) -> int:
    rows = _next_rows(connection, size)
    if rows:
        by(connection, rows)
    return len(rows)


def _next_rows(connection: Connection, size: int) -> Sequence[Delivered]:
    apply_alone(connection)
    wanted = (
        select(
            Delivery.id,
            Delivery.bot_id,
            Delivery.event,
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
    # The oldest deliveries; then by bot, since all writers lock bots in that order.
    return sorted(connection.execute(wanted), key=lambda row: (row.bot_id or "", row.received_at))


def apply_alone(connection: Connection) -> None:
    """Let nobody else apply until this transaction ends."""
    if connection.dialect.name == "postgresql":
        # Wait for the lock: its holder may have read before our delivery was committed.
        connection.execute(select(func.pg_advisory_xact_lock(APPLY_LOCK)))


def _apply(connection: Connection, rows: Sequence[Delivered]) -> None:
    bots = {row.bot_id for row in rows}
    media = [row for row in rows if media_kind(row.event)]
    statuses = [row for row in rows if not media_kind(row.event)]
    # The bots of media too, for the lock; such a webhook makes no bot, and none due.
    stored = read_bot_states(connection, bots)
    # A bot that is new here has no links yet.
    with watch_links(connection, bot_ids=stored):
        changed = _write(connection, statuses, fold(stored, statuses))
        recordings = _write_media(connection, statuses, media)
    report_ready(connection, recordings)
    correct_ended(connection, changed | {change.bot_id for change in recordings})
    applied = update(Delivery).where(Delivery.id.in_([row.id for row in rows]))
    connection.execute(applied.values(applied_at=db_now()))
    if erased := erased_bots(connection, bots):
        empty_bodies(connection, erased)


def _write(
    connection: Connection, rows: Sequence[Delivered], states: Mapping[str, BotState]
) -> set[str]:
    write_bot_states(connection, states.values())
    upsert(connection, _STATUSES, [_status_row(row) for row in rows])
    return refresh_reported(connection, [(row.bot_id, row.code) for row in rows])


def _write_media(
    connection: Connection, statuses: Sequence[Delivered], media: Sequence[Delivered]
) -> list[Change]:
    ended = {row.bot_id for row in statuses if row.code == MEDIA_EXPIRED}
    changed = [*apply_media(connection, media), *expire_recordings(connection, ended)]
    refresh_outcomes(connection, {change.bot_id for change in changed})
    return changed


def fold(stored: Mapping[str, BotState], rows: Iterable[Delivered]) -> dict[str, BotState]:
    """Return the state of each bot after these deliveries."""
    states: dict[str, BotState] = {}
    for row in rows:
        before = states.get(row.bot_id) or stored.get(row.bot_id)
        if before is None:
            before = BotState(row.bot_id, _status(row), row.received_at)
        states[row.bot_id] = before.after(_status(row))
    return states


def _apply_one_by_one(connection: Connection, rows: Sequence[Delivered]) -> None:
    for row in rows:
        _apply_one(connection, row)


def _apply_one(connection: Connection, row: Delivered) -> None:
    try:
        # A savepoint for each row: rolling it back keeps what the other rows wrote.
        with connection.begin_nested():
            _apply(connection, [row])
    except Exception as error:
        if not is_bad_row(error):
            raise
        logger.exception("delivery cannot be applied", delivery_id=row.id)
        malformed = {"outcome": "malformed", "reason": "apply_failed"}
        connection.execute(update(Delivery).where(Delivery.id == row.id).values(malformed))


def read_bot_states(connection: Connection, bot_ids: set[str]) -> dict[str, BotState]:
    """Read the states of these bots, and lock the rows."""
    found = connection.execute(
        select(Bot.id, Bot.status, Bot.sub_code, Bot.status_at, Bot.first_seen_at, Bot.due_seq)
        .where(Bot.id.in_(bot_ids))
        .order_by(Bot.id)
        # Locked until our commit: a drain may be saving the same bot.
        .with_for_update()
    )
    return {
        row.id: BotState(
            row.id,
            Status(row.status, row.status_at, row.sub_code),
            row.first_seen_at,
            row.due_seq,
        )
        for row in found
    }


def write_bot_states(connection: Connection, states: Iterable[BotState]) -> None:
    """Write the states of bots; those that became due are due now."""
    ordered = sorted(states, key=lambda state: state.bot_id)
    # Two statements, because an executemany sets the same columns in all rows.
    for becomes_due in (False, True):
        rows = [_bot_row(s) for s in ordered if s.becomes_due is becomes_due]
        if rows:
            connection.execute(_bots_upsert(connection, becomes_due=becomes_due), rows)


def _bots_upsert(connection: Connection, *, becomes_due: bool) -> Insert:
    statement = insert_into(connection, _BOTS)
    changed: dict[str, Any] = {
        name: statement.excluded[name] for name in ("status", "sub_code", "status_at", "due_seq")
    }
    if becomes_due:
        statement = statement.values(due_at=db_now(), owed_since=db_now())
        changed |= due_again(db_now())
    return statement.on_conflict_do_update(index_elements=["id"], set_=changed)


def due_again(due_at: ColumnElement[Any]) -> dict[str, Any]:
    """Return the columns of a stored bot that becomes due for a new reason."""
    # A failed bot gets another chance.
    link_state = case((Bot.link_state == "failed", "pending"), else_=Bot.link_state)
    fresh = {"owed_since": due_at, "attempts": 0, "crashes": 0}
    return {"due_at": due_at, "link_state": link_state, **fresh}


def _bot_row(state: BotState) -> dict[str, Any]:
    return {
        "id": state.bot_id,
        "status": state.status.code,
        "sub_code": state.status.sub_code,
        "status_at": state.status.occurred_at,
        "first_seen_at": state.seen_at,
        "due_seq": state.due_seq,
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
