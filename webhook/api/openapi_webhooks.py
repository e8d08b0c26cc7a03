"""What is posted to others, as the description's webhooks."""

from typing import Any

from models.settings.events import EVENT_TYPES

Json = dict[str, Any]


def webhooks() -> Json:
    """Return one webhook for each type of event."""
    return {kind: {"post": _webhook(kind)} for kind in EVENT_TYPES}


def _webhook(kind: str) -> Json:
    content = {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": kind},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {"type": "object"},
        },
    }
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    headers = [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    return {
        "operationId": f"told_{kind.replace('.', '_')}",
        "summary": f"Posted to each address in EVENTS_URL: {kind}",
        "parameters": headers,
        "requestBody": {"required": True, "content": {"application/json": {"schema": content}}},
        "responses": {
            "2XX": {"description": "Taken; anything else is tried again"},
            "410": {"description": "No more events, please"},
        },
        # Signed, and not by a token of ours.
        "security": [],
    }
