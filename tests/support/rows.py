"""Rows written and read as a test needs them, past the code under test."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, func, insert, select, update

from models.tables.base import Base, db_now
from models.tables.bot import Bot
from models.tables.delivery import Delivery
from tests.support.fakes import START
from tests.support.ids import new_id
from workers.calendars.schedule import NightlyRun, keep_nightly_run, next_nightly_run


def add_delivery(engine: Engine, bot_id: str | None, code: str | None, **fields: Any) -> str:
    """Store a delivery as the receiver would have; returns its id."""
    delivery_id: str = fields.pop("id", f"msg_{new_id()}")
    row = {
        "id": delivery_id,
        "event": "bot.status_change",
        "outcome": "accepted",
        "bot_id": bot_id,
        "code": code,
        "occurred_at": START,
        "body": b"{}",
        "scheme": "svix",
        "secret_fingerprint": "0" * 12,
    }
    with engine.begin() as connection:
        times = {"received_at": db_now(), "last_received_at": db_now()}
        connection.execute(insert(Delivery).values(**times | row | fields))
    return delivery_id


def add_bot(engine: Engine, bot_id: str, **fields: Any) -> None:
    """Store a bot that is due now."""
    row = {
        "id": bot_id,
        "status": "joining_call",
        "status_at": START,
        "first_seen_at": START,
        "link_state": "pending",
        "due_seq": 1,
        "due_at": db_now(-1),
        "owed_since": db_now(-1),
    }
    with engine.begin() as connection:
        connection.execute(insert(Bot).values(**row | fields))


def set_bot(engine: Engine, bot_id: str, **fields: Any) -> None:
    """Change a bot's row."""
    with engine.begin() as connection:
        connection.execute(update(Bot).where(Bot.id == bot_id).values(**fields))


def bot_row(engine: Engine, bot_id: str) -> Any:
    """Return a bot's row."""
    with engine.connect() as connection:
        return connection.execute(select(Bot.__table__).where(Bot.id == bot_id)).one()


def rows(engine: Engine, table: type[Base], **where: Any) -> list[Any]:
    """Return a table's rows, in the order of their keys."""
    query = select(table.__table__).filter_by(**where)
    with engine.connect() as connection:
        return list(connection.execute(query.order_by(*table.__table__.primary_key)))


def count(engine: Engine, table: type[Base]) -> int:
    """Count a table's rows."""
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def checked_calendars(engine: Engine, users: int, failed: int = 0) -> None:
    """Store that the nightly check has just ended, having looked at so many users."""
    run = NightlyRun(next_nightly_run(datetime.now(UTC)), users=users, failed=failed)
    with engine.begin() as connection:
        keep_nightly_run(connection, run, is_over=True)


def later(seconds: float) -> datetime:
    """A moment of the tests' own time."""
    return START + timedelta(seconds=seconds)
