"""Search by id: a bot's id, a prefix of one, or a message id."""

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
    """The matching bots; for a message without a bot, the list that contains it."""

    bot_ids: list[str]
    message_in: str | None = None


def look_up(connection: Connection, text: str) -> IdMatch:
    """Find an id using indexes only; 8 characters of a bot's id are enough."""
    if found := uuid_range(text):
        # A bot without any status yet is only in deliveries.
        for column in (Bot.id, Delivery.bot_id):
            if bot_ids := _bot_ids_between(connection, column, *found):
                return IdMatch(bot_ids)
    return _by_message(connection, text)


def _bot_ids_between(
    connection: Connection, column: QueryableAttribute[Any], first: str, last: str
) -> list[str]:
    matching = select(column).where(column.between(first, last)).distinct()
    return list(connection.scalars(matching.order_by(column).limit(MOST_BOTS)))


def _by_message(connection: Connection, message_id: str) -> IdMatch:
    delivery = select(Delivery.bot_id).where(Delivery.id == message_id)
    if (found := connection.execute(delivery).one_or_none()) is not None:
        return IdMatch([found.bot_id], None) if found.bot_id else IdMatch([], DELIVERIES.name)
    refused = select(Rejection.id).where(Rejection.message_id == message_id).limit(1)
    is_refused = connection.scalar(refused) is not None
    return IdMatch([], REJECTIONS.name if is_refused else None)
