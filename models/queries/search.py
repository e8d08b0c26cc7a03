"""What an id that somebody pastes may be: a bot's, the beginning of one, or a message's."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.orm import QueryableAttribute

from models.core.sanitize import uuid_range
from models.queries.registry import DELIVERIES, REJECTIONS
from models.tables.bot import Bot
from models.tables.delivery import Delivery
from models.tables.rejection import Rejection

MOST_BOTS = 10


@dataclass(frozen=True, slots=True)
class IdMatch:
    """Which bots an id means; where it is a message's that names no bot, the list that has it."""

    bot_ids: list[str]
    message_in: str | None = None


def look_up(connection: Connection, text: str) -> IdMatch:
    """Find what has this id, by indexes alone; a bot's may be its first 8 characters or more."""
    if found := uuid_range(text):
        # A bot that webhooks name and that none has told the status of is in deliveries alone.
        for column in (Bot.id, Delivery.bot_id):
            if bot_ids := _within(connection, column, *found):
                return IdMatch(bot_ids)
    return _by_message(connection, text)


def _within(
    connection: Connection, column: QueryableAttribute[Any], first: str, last: str
) -> list[str]:
    named = select(column).where(column.between(first, last)).distinct()
    return list(connection.scalars(named.order_by(column).limit(MOST_BOTS)))


def _by_message(connection: Connection, message_id: str) -> IdMatch:
    delivery = select(Delivery.bot_id).where(Delivery.id == message_id)
    if (found := connection.execute(delivery).one_or_none()) is not None:
        return IdMatch([found.bot_id], None) if found.bot_id else IdMatch([], DELIVERIES.name)
    refused = select(Rejection.id).where(Rejection.message_id == message_id).limit(1)
    is_refused = connection.scalar(refused) is not None
    return IdMatch([], REJECTIONS.name if is_refused else None)
