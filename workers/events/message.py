"""An event as it is posted: body and signed headers, as https://www.standardwebhooks.com says."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.settings.credentials import WebhookSecret


@dataclass(frozen=True, slots=True)
class Message:
    """One event to post."""

    event_id: str
    type: str
    created_at: datetime
    bot_id: str | None
    meeting_id: str | None
    data: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """The body: what is signed, to the byte."""
        # Emptied, since the person is erased: that there was an event is all that is left.
        erased = {"erased": True, "bot_id": self.bot_id, "meeting_id": self.meeting_id}
        content = {
            "type": self.type,
            "timestamp": self.created_at.isoformat(),
            "data": self.data or erased,
        }
        return json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()

    def headers(self, body: bytes, secrets: Iterable[WebhookSecret], at: int) -> dict[str, str]:
        """Return the headers, signed for a moment, with each of the secrets."""
        signed = f"{self.event_id}.{at}.".encode() + body
        return {
            "content-type": "application/json",
            "webhook-id": self.event_id,
            "webhook-timestamp": str(at),
            "webhook-signature": " ".join(_signature(one.key, signed) for one in secrets),
        }


def _signature(key: bytes, signed: bytes) -> str:
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
