"""The backlog, by two cheap reads, for the poller."""

from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select, text

from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.delivery import Delivery
from models.tables.link import LinkAttempt
from workers.linking.leases import claimable
from workers.recall_api.circuit import read_workspace


@dataclass(frozen=True, slots=True)
class PendingWork:
    """Whether there is work now, the seconds until a bot is due, and the last attempt's id."""

    is_work: bool
    next_due_in: float | None
    last_attempt: int


def look(connection: Connection) -> PendingWork:
    """Read the backlog; while the circuit is open, due bots do not count."""
    unapplied = exists(select(Delivery.id).where(text(Delivery.IS_UNAPPLIED)))
    next_due = select(Bot.due_at).where(Bot.due_at > db_now()).order_by(Bot.due_at).limit(1)
    row = connection.execute(
        select(
            unapplied.label("is_unapplied"),
            exists().where(claimable()).label("is_claimable"),
            next_due.scalar_subquery().label("next_due"),
            # If it grows, some worker is active.
            select(func.max(LinkAttempt.id)).scalar_subquery().label("last_attempt"),
            db_now().label("now"),
        )
    ).one()
    open_for = read_workspace(connection).open_for
    # While the circuit is open no bot is due before it closes.
    waits = [open_for] if open_for else []
    if row.next_due is not None:
        waits.append((row.next_due - row.now).total_seconds())
    return PendingWork(
        is_work=bool(row.is_unapplied or (row.is_claimable and not open_for)),
        next_due_in=min(waits, default=None),
        last_attempt=row.last_attempt or 0,
    )
