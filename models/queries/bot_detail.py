"""Everything known about one bot, from a few indexed queries."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from models.core.bot_status import Status, StatusKey
from models.queries.calendars.same_meeting import other_bots
from models.queries.circuit import read_circuit
from models.queries.events.event_list import EventFilter, events
from models.queries.filters import DeliveryFilter, LinkFilter, RecordingFilter
from models.queries.link_summary import why
from models.queries.lists import BOT_COLUMNS, deliveries, links, recordings
from models.queries.rows import AttemptRow, BotRow, CallRow, EventLine, Explained, StatusRow
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from models.tables.delivery import Delivery
from models.tables.link import LinkAttempt

MAX_ROWS = 200


def explain(connection: Connection, bot_id: str) -> Explained | None:
    """Read one bot with its latest 200 rows of each kind; None if the bot is unknown."""
    found = connection.execute(select(*BOT_COLUMNS, db_now()).where(Bot.id == bot_id)).one_or_none()
    if found is None:
        return None
    *values, now = found
    bot = BotRow(*values)
    linked = (
        links(LinkFilter(bot_id=bot_id), connection.dialect.name).page(connection, MAX_ROWS).rows
    )
    received = deliveries(DeliveryFilter(bot_id=bot_id)).page(connection, MAX_ROWS).rows
    return Explained(
        bot=bot,
        why=why(bot, linked, now, read_circuit(connection, now)),
        statuses=_statuses(connection, bot_id),
        deliveries=received[::-1],
        attempts=_attempts(connection, bot_id),
        links=linked,
        same_meeting=other_bots(connection, bot_id, linked, MAX_ROWS),
        events=_events(connection, bot_id),
        recordings=recordings(RecordingFilter(bot_id=bot_id)).page(connection, MAX_ROWS).rows,
    )


def _events(connection: Connection, bot_id: str) -> list[EventLine]:
    found = events(EventFilter(bot_id=bot_id)).page(connection, MAX_ROWS).rows
    return [
        EventLine(
            row.event_id,
            row.type,
            row.created_at,
            row.state,
            row.attempts,
            row.data.get("changed") or [],
        )
        for row in reversed(found)
    ]


def has_delivery(connection: Connection, bot_id: str) -> bool:
    """Whether any delivery names this bot, applied or not."""
    named = select(Delivery.id).where(Delivery.bot_id == bot_id).limit(1)
    return connection.scalar(named) is not None


def _statuses(connection: Connection, bot_id: str) -> list[StatusRow]:
    found = connection.execute(
        select(
            BotStatus.code,
            BotStatus.sub_code,
            BotStatus.message,
            BotStatus.occurred_at,
            BotStatus.delivery_id,
        )
        .where(BotStatus.bot_id == bot_id)
        .order_by(BotStatus.occurred_at.desc(), BotStatus.code.desc())
        .limit(MAX_ROWS)
    )
    # Equal times are common; these rows follow the order of a bot's life.
    return sorted((StatusRow(*row) for row in found), key=_life_order)


def _life_order(row: StatusRow) -> tuple[datetime, StatusKey]:
    return row.occurred_at, Status(row.code, row.occurred_at).key


def _attempts(connection: Connection, bot_id: str) -> list[AttemptRow]:
    found = connection.execute(
        select(
            LinkAttempt.id,
            LinkAttempt.started_at,
            LinkAttempt.finished_at,
            LinkAttempt.outcome,
            LinkAttempt.error,
            LinkAttempt.calls,
        )
        .where(LinkAttempt.bot_id == bot_id)
        # Keep the latest if there are more than the limit; the order is reversed below.
        .order_by(LinkAttempt.id.desc())
        .limit(MAX_ROWS)
    ).all()
    return [
        AttemptRow(
            row.id, row.started_at, row.finished_at, row.outcome, row.error, _calls(row.calls)
        )
        for row in reversed(found)
    ]


def _calls(stored: Sequence[dict[str, Any]]) -> list[CallRow]:
    # An older or newer release may have stored other fields.
    return [
        CallRow(
            call.get("method", ""),
            call.get("path", ""),
            call.get("about"),
            call.get("status"),
            call.get("ms", 0),
            call.get("error"),
        )
        for call in stored
    ]
