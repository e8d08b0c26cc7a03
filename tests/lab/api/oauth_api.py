"""Connecting a calendar: the provider's consent page and Recall's OAuth callbacks."""

import json
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlencode

from tests.lab.api.answers import html, plain, redirect
from tests.lab.api.visits import Visit
from tests.lab.http.wire import Response
from tests.lab.world.shapes import CalendarUser, Grant
from tests.lab.world.world import World


@dataclass(frozen=True, slots=True)
class Provider:
    """How one calendar platform names things; `scope` is the one a calendar needs."""

    platform: str
    redirect_key: str
    scope: str


GOOGLE = Provider(
    "google",
    "google_oauth_redirect_url",
    "https://www.googleapis.com/auth/calendar.events.readonly",
)
MICROSOFT = Provider(
    "microsoft", "ms_oauth_redirect_url", "https://graph.microsoft.com/Calendars.Read"
)


class RefusedError(Exception):
    """A calendar could not be connected; `reason` goes to error_url, the text to a person."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class OAuthApi:
    """One provider's consent page and the callback of Recall that belongs to it."""

    def __init__(self, world: World, provider: Provider) -> None:
        self._world = world
        self._provider = provider

    def consent(self, visit: Visit) -> Response:
        """Show a page with links that allow, allow without the calendar, or deny.

        Stands in for https://accounts.google.com and https://login.microsoftonline.com.
        """
        query = dict(visit.request.query)
        missing = [name for name in ("client_id", "redirect_uri", "scope") if not query.get(name)]
        if missing or query.get("response_type") != "code":
            return html(f"<p>The request lacks {escape(', '.join(missing))} or a code flow.", 400)
        scopes = tuple(query["scope"].split())
        less = tuple(scope for scope in scopes if scope != self._provider.scope)
        links = {
            "allow": self._allowed(query, scopes),
            "untick": self._allowed(query, less),
            "deny": _back(query, {"error": "access_denied"}),
        }
        return html(_page(self._provider.platform, query["client_id"], links))

    def callback(self, visit: Visit) -> Response:
        """Connect the calendar and send the browser to success_url or error_url.

        https://docs.recall.ai/docs/calendar-v1-google-calendar and …-microsoft-outlook. What is
        added to error_url is not documented: the fake adds `reason`.
        """
        query = dict(visit.request.query)
        state = _state(query.get("state", ""))
        try:
            user = self._user(state)
            grant = self._redeem(query, state)
        except RefusedError as refusal:
            return _failed(state, refusal)
        self._world.connect(user.id, self._provider.platform, grant.email)
        visit.about = user.external_id or ""
        if target := state.get("success_url"):
            return redirect(str(target))
        return plain("Your calendar is connected.")

    def _allowed(self, query: dict[str, str], scopes: tuple[str, ...]) -> str:
        if self._provider is GOOGLE:
            lasting = (query.get("access_type"), query.get("prompt")) == ("offline", "consent")
        else:
            lasting = "offline_access" in scopes
        email = query.get("login_hint") or f"someone@{self._provider.platform}.example"
        grant = Grant(self._provider.platform, query["redirect_uri"], email, scopes, lasting)
        code = self._world.grant(grant)
        # Microsoft tells the scopes only to whoever redeems the code.
        told = {"scope": " ".join(scopes)} if self._provider is GOOGLE else {}
        return _back(query, {"code": code, **told})

    def _user(self, state: dict[str, Any]) -> CalendarUser:
        token = state.get("recall_calendar_auth_token")
        user = self._world.user_of_token(token) if isinstance(token, str) else None
        if user is None:
            raise RefusedError("invalid_token", "Invalid `recall_calendar_auth_token` supplied")
        return user

    def _redeem(self, query: dict[str, str], state: dict[str, Any]) -> Grant:
        if "error" in query:
            raise RefusedError(query["error"], f"reason: the provider said {query['error']}")
        grant = self._world.grants.pop(query.get("code", ""), None)
        if grant is None or grant.platform != self._provider.platform:
            raise RefusedError("invalid_grant", "reason: the code is unknown or used up")
        if state.get(self._provider.redirect_key) != grant.redirect_uri:
            raise RefusedError("redirect_uri_mismatch", f"reason: {self._provider.redirect_key}")
        if self._provider.scope not in grant.scopes:
            raise RefusedError("invalid_scope", f"invalid_scope, given were {list(grant.scopes)}")
        if not grant.has_refresh_token:
            raise RefusedError("no_refresh_token", "reason: refresh_token missing from the answer")
        return grant


def _state(text: str) -> dict[str, Any]:
    try:
        state = json.loads(text)
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}


def _failed(state: dict[str, Any], refusal: RefusedError) -> Response:
    target = str(state.get("error_url") or "")
    if not target:
        return plain(f"Calendar connection failed! ({refusal})", 400)
    joint = "&" if "?" in target else "?"
    return redirect(f"{target}{joint}{urlencode({'reason': refusal.reason})}")


def _back(query: dict[str, str], answer: dict[str, str]) -> str:
    joint = "&" if "?" in query["redirect_uri"] else "?"
    return f"{query['redirect_uri']}{joint}{urlencode({**_kept(query), **answer})}"


def _kept(query: dict[str, str]) -> dict[str, str]:
    return {"state": query["state"]} if "state" in query else {}


def _page(platform: str, client_id: str, links: dict[str, str]) -> str:
    words = {"allow": "Allow", "untick": "Allow, but untick the calendar", "deny": "Deny"}
    items = "".join(
        f'<p><a id="{name}" href="{escape(link)}">{words[name]}</a></p>'
        for name, link in links.items()
    )
    return (
        f"<!doctype html><title>{platform} (lab)</title>"
        f"<h1>{escape(client_id)} wants to read your {platform} calendar</h1>{items}"
    )
