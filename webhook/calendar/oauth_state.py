"""Binds the OAuth state to one browser: only the browser that followed the link may return.

Otherwise somebody could send another person to the consent page with their own state, and get that
person's calendar connected to their account (login CSRF, RFC 9700, 4.7).
"""

import hashlib
import hmac
from urllib.parse import parse_qsl

from flask import Request, Response

from models.settings.environment import Settings
from webhook.calendar.connect_links import TRIP_SECONDS

_NAME = "recall-links-state-"
_SHOWN = 16
# Each trip has its own cookie, so that tabs do not interfere. Their number is bounded because the
# headers of a request are; nobody has this many at once.
MOST_TRIPS = 8


class StateCookies:
    """Stores in a browser's cookies which states it was given; the server stores nothing."""

    def __init__(self, settings: Settings) -> None:
        self._is_secure = (settings.public_url or "").startswith("https://")

    def remember(self, asked: Request, answer: Response, state: str) -> None:
        """Let the browser that gets this response return with this state for an hour."""
        ours = [name for name in asked.cookies if name.startswith(self._prefix)]
        # Browsers send the oldest first (RFC 6265, 5.4).
        for name in ours[: max(0, len(ours) - MOST_TRIPS + 1)]:
            answer.delete_cookie(name, secure=self._is_secure, httponly=True, samesite="Lax")
        name, value = self._cookie(state)
        answer.set_cookie(
            name,
            value,
            # Not a session cookie: a phone may end the session during the consent.
            max_age=int(TRIP_SECONDS),
            secure=self._is_secure,
            httponly=True,
            # Strict cookies would not be sent, because the provider redirects from another site.
            samesite="Lax",
            path="/",
        )

    def knows(self, asked: Request, query: str) -> bool:
        """Whether the browser was given the state in this query."""
        pairs = parse_qsl(query, keep_blank_values=True)
        states = [value for name, value in pairs if name == "state"]
        # With two, Recall might read the other one.
        if len(states) != 1:
            return False
        name, value = self._cookie(states[0])
        return hmac.compare_digest(asked.cookies.get(name, "").encode(), value.encode())

    def _cookie(self, state: str) -> tuple[str, str]:
        # A signature would not help, because another browser's state would be signed too. The token
        # makes the state unguessable, and the hash does not reveal it.
        digest = hashlib.sha256(state.encode(errors="replace")).hexdigest()
        return f"{self._prefix}{digest[:_SHOWN]}", digest[_SHOWN:]

    @property
    def _prefix(self) -> str:
        # Browsers accept `__Host-` only over TLS, and then no other host of the domain can set it.
        return f"__Host-{_NAME}" if self._is_secure else _NAME
