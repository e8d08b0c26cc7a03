"""Verifies rejected requests again after a secret or the clock was fixed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, func, select, update

from models.settings.environment import Settings
from models.tables.base import db_now
from models.tables.rejection import Rejection
from webhook.receiver.events import classify
from webhook.receiver.signature import UnverifiedError, verify
from webhook.receiver.storage import Inbox
from webhook.receiver.views import commit

BATCH = 200
Kept = Row[*tuple[Any, ...]]


@dataclass(slots=True)
class Reverified:
    """How many were checked, accepted and rejected again; the last ones stay stored."""

    looked_at: int = 0
    accepted: int = 0
    refused: int = 0


def reverify(
    settings: Settings,
    writes: Engine,
    inbox: Inbox,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Reverified:
    """Check each unresolved rejection against the secrets that are set now.

    The tolerance applies to the time of receipt by the database's clock. A request that passes is
    stored like a new one.
    """
    done = Reverified()
    for row in _checkable_rows(writes):
        done.looked_at += 1
        if _accept(settings, inbox, row):
            # Stored first: after a crash in between, the next run only counts one more copy.
            _resolve(writes, row.id)
            done.accepted += 1
        else:
            done.refused += 1
        on_progress(done.looked_at)
    return done


def unresolved(connection: Connection) -> int:
    """Count what can be checked again; at most ten thousand rejections are kept."""
    return connection.scalar(select(func.count()).select_from(_checkable().subquery())) or 0


def _checkable() -> Select[*tuple[Any, ...]]:
    kept = select(Rejection.id, Rejection.received_at, Rejection.headers, Rejection.body)
    return kept.where(Rejection.resolved_at.is_(None), Rejection.body.is_not(None))


def _checkable_rows(writes: Engine) -> Iterator[Kept]:
    after = 0
    while True:
        query = _checkable().where(Rejection.id > after).order_by(Rejection.id).limit(BATCH)
        with writes.connect() as connection:
            rows = connection.execute(query).all()
        yield from rows
        if len(rows) < BATCH:
            return
        after = rows[-1].id


def _accept(settings: Settings, inbox: Inbox, row: Kept) -> bool:
    received_at: datetime = row.received_at
    try:
        verified = verify(
            row.headers,
            row.body,
            settings.recall_webhook_secrets,
            received_at.timestamp(),
            settings.webhook_tolerance_seconds,
        )
    except UnverifiedError:
        return False
    commit(inbox, verified, classify(row.body, received_at), row.body)
    return True


def _resolve(writes: Engine, rejection_id: int) -> None:
    with writes.begin() as connection:
        resolved = update(Rejection).where(Rejection.id == rejection_id)
        connection.execute(resolved.values(resolved_at=db_now()))
