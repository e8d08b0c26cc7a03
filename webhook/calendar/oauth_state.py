"""The OAuth state, bound to one browser: who follows a link is who may come back from it.

Without that, somebody could send another person to the consent page with a state of their own, and
have that person's calendar connected to themselves (login CSRF, RFC 9700, 4.7).
"""

import hashlib
import hmac
from urllib.parse import parse_qsl

from flask import Request, Response

from models.settings.environment import Settings
from webhook.calendar.connect_links import TRIP_SECONDS

_NAME = "recall-links-state-"
_SHOWN = 16
# Each trip has a cookie of its own, so that tabs do not take each other's; a request's head has
# an end, and nobody is under way this often.
MOST_TRIPS = 8


class StateCookies:
    """Remembers in a browser which states were handed to it; nothing is kept on our side."""

    def __init__(self, settings: Settings) -> None:
        self._is_secure = (settings.public_url or "").startswith("https://")

    def remember(self, asked: Request, answer: Response, state: str) -> None:
        """Let the browser that gets this answer come back with this state, for an hour."""
        ours = [name for name in asked.cookies if name.startswith(self._prefix)]
        # Browsers send the oldest first (RFC 6265, 5.4).
        for name in ours[: max(0, len(ours) - MOST_TRIPS + 1)]:
            answer.delete_cookie(name, secure=self._is_secure, httponly=True, samesite="Lax")
        name, value = self._cookie(state)
        answer.set_cookie(
            name,
            value,
            # Not the browser's session: a phone may end that while somebody is at the provider's.
            max_age=int(TRIP_SECONDS),
            secure=self._is_secure,
            httponly=True,
            # Strict would stay at home: the provider sends the browser back from another site.
            samesite="Lax",
            path="/",
        )

    def knows(self, asked: Request, query: str) -> bool:
        """Whether the browser that comes back was given the state it brings in this query."""
        pairs = parse_qsl(query, keep_blank_values=True)
        states = [value for name, value in pairs if name == "state"]
        # Of two, Recall could read the other one.
        if len(states) != 1:
            return False
        name, value = self._cookie(states[0])
        return hmac.compare_digest(asked.cookies.get(name, "").encode(), value.encode())

    def _cookie(self, state: str) -> tuple[str, str]:
        # No signature: what another browser was given is as well signed. The token in the state
        # makes it unguessable, and its hash tells nothing of it.
        digest = hashlib.sha256(state.encode(errors="replace")).hexdigest()
        return f"{self._prefix}{digest[:_SHOWN]}", digest[_SHOWN:]

    @property
    def _prefix(self) -> str:
        # Browsers take `__Host-` over TLS only, and then let no other host of the domain set it.
        return f"__Host-{_NAME}" if self._is_secure else _NAME
