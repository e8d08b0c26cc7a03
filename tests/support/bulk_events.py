"""Events as years of work would leave them: one a bot, delivered to one endpoint at once."""

from datetime import datetime
from typing import Any

from models.tables.event import Event, EventAttempt, EventDelivery

ENDPOINT = "events.example/0a1b2c3d"


def events_of(number: int, bot: str, at: datetime) -> dict[type, list[dict[str, Any]]]:
    """The number-th bot's event; of one in two hundred the endpoint refused it."""
    event = f"evt_{number:022x}"
    state = "failed" if number % 200 == 9 else "delivered"
    about = {"position": number + 1, "bot_id": bot, "state": state, "attempts": 1}
    return {
        Event: [{"id": event, "type": "bot.ended", "data": {}, "created_at": at, **about}],
        EventDelivery: [{"event_id": event, "endpoint": ENDPOINT, **about}],
        EventAttempt: [
            {"event_id": event, "endpoint": ENDPOINT, "at": at, "status": 204, "ms": 12}
        ],
    }
