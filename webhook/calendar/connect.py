"""Connecting a calendar: an authenticated caller gets a link, and a browser follows it once.

A browser navigation cannot carry a JWT, and without one anybody could connect a calendar to any
user. So the POST authenticates, and the GET accepts nothing but the link.
"""

import json
from typing import Any

from flask import Blueprint, Request, Response, abort, request

from models.settings.calendar import Platform
from models.settings.environment import Settings
from models.settings.redirect_urls import WebAddress, is_allowed
from webhook.calendar.connect_links import LINK_SECONDS, ConnectLinks, ConnectRequest
from webhook.calendar.oauth import PROVIDERS, consent_url, recall_callback, state_text
from webhook.calendar.oauth_state import StateCookies
from webhook.calendar.requests import RequestGuard, recall_problem
from webhook.calendar.responses import Forward, note
from webhook.web.problems import problem
from workers.calendar_tokens.gateway import RecallGateway
from workers.privacy.tombstones import UserErasedError
from workers.recall_api.calendar_schemas import CalendarConnection
from workers.recall_api.errors import RecallError

_YES = (True, 1, "1", "true")


class BadTargetError(ValueError):
    """A return target that is malformed or not under CALENDAR_RETURN_URLS."""


class Connecting:
    """Makes links and follows them; refuses to replace a calendar unless asked to."""

    def __init__(self, settings: Settings, gateway: RecallGateway, links: ConnectLinks) -> None:
        self._settings = settings
        self._gateway = gateway
        self._links = links
        self._cookies = StateCookies(settings)

    def request(
        self, external_id: str, platform: Platform, return_to: str | None, *, replace: bool
    ) -> ConnectRequest:
        """Return the request for a link; BadTargetError if the target is not allowed."""
        if return_to is not None:
            return_to = self._target(return_to)
        return ConnectRequest(external_id, platform, return_to, replace)

    def link(self, wanted: ConnectRequest) -> str:
        """Return a link that works once, within 5 minutes."""
        secret = self._links.make(wanted)
        return f"{self._settings.public_url}/calendar/connect/{wanted.platform}?link={secret}"

    def conflict(self, wanted: ConnectRequest) -> CalendarConnection | None:
        """Return the calendar that would be replaced without the caller's consent; RecallError.

        https://docs.recall.ai/docs/calendar-v1-faq: a new calendar replaces the platform's old one.
        """
        if wanted.replace:
            return None
        try:
            with self._gateway.open() as recall:
                user = recall.users.act(wanted.external_id, recall.client.user)
        except UserErasedError:
            # Nothing of theirs is left at Recall, and asking would re-create the user too early.
            return None
        return user.connected_to(wanted.platform)

    def follow(self, secret: str, platform: Platform) -> Response:
        """Send a browser to the provider with a fresh token, if the link is still valid."""
        wanted = self._links.find(secret, platform)
        if wanted is None:
            return _expired()
        # Checked again, because another calendar may have been connected since. If this fails, the
        # link is not used up and can be clicked again.
        with self._gateway.open() as recall:
            token = recall.users.mint(wanted.external_id)
            existing = recall.client.user(token).connected_to(platform)
        if existing and not wanted.replace:
            return note(
                409, "A calendar is already connected", conflict_message(platform, existing)
            )
        trip = self._links.follow(secret, wanted)
        if trip is None:
            return _expired()
        state = state_text(self._settings, platform, token.token, trip)
        answer = Forward(consent_url(self._settings, platform, state))
        self._cookies.remember(request, answer, state)
        return answer

    def _target(self, text: str) -> str:
        try:
            address = WebAddress.parse(text)
        except ValueError as error:
            raise BadTargetError(f"returnTo {error}") from None
        if not is_allowed(address, self._settings.calendar_return_urls):
            raise BadTargetError("returnTo is not under one of CALENDAR_RETURN_URLS")
        return str(address)


def conflict_message(platform: Platform, existing: CalendarConnection) -> str:
    """Explain why a second calendar of a platform is not connected without `replace`."""
    name = PROVIDERS[platform].name
    return (
        f"The {name} calendar {existing.email or ''} is already connected. A user has one"
        f" {name} calendar: connecting another one clears the bots and calendar data of the first."
        " To do that, use replace=1."
    )


def add_connecting(
    routes: Blueprint, settings: Settings, connecting: Connecting, guard: RequestGuard
) -> None:
    """Add POST (only if callers can be authenticated) and GET /calendar/connect/{platform}."""
    methods = ["POST", "OPTIONS"]

    @routes.route("/calendar/connect/<platform>", methods=methods, provide_automatic_options=False)
    def ask(platform: str) -> Response:
        named = known_platform(settings, platform)
        if not settings.knows_callers:
            abort(404)
        return guard.serve(request, lambda user, body: _link(connecting, user, named, body))

    @routes.get("/calendar/connect/<platform>", provide_automatic_options=False)
    def follow(platform: str) -> Response:
        named = known_platform(settings, platform)
        if _is_prefetch(request):
            return Response(status=204)
        try:
            return connecting.follow(request.args.get("link", ""), named)
        except RecallError as error:
            return _unavailable(error)


def add_callbacks(routes: Blueprint, settings: Settings) -> None:
    """Add GET /calendar/callback/{platform}; Google requires it on the operator's own domain."""
    cookies = StateCookies(settings)

    @routes.get("/calendar/callback/<platform>")
    def callback(platform: str) -> Response:
        named = known_platform(settings, platform)
        # The raw query string, because decoding and encoding again could change the code.
        query = request.environ.get("QUERY_STRING", "")
        if not cookies.knows(request, query):
            return _started_elsewhere()
        return Forward(recall_callback(settings, named, query))


def known_platform(settings: Settings, platform: str) -> Platform:
    """Return the platform if it has an OAuth client; otherwise 404."""
    found = next((one for one in settings.oauth_platforms if one == platform), None)
    return found or abort(404)


def _link(
    connecting: Connecting, external_id: str, platform: Platform, body: dict[str, Any]
) -> Response:
    replace = body.get("replace") in _YES or request.args.get("replace") in _YES
    return_to = body.get("returnTo")
    if return_to is not None and not isinstance(return_to, str):
        return problem(400, "returnTo must be a string", parameter="returnTo")
    try:
        wanted = connecting.request(external_id, platform, return_to, replace=replace)
    except BadTargetError as error:
        return problem(400, str(error), parameter="returnTo")
    if existing := connecting.conflict(wanted):
        words = conflict_message(platform, existing)
        return problem(409, words, reason="already_connected", email=existing.email)
    answer = {"url": connecting.link(wanted), "expires_in": int(LINK_SECONDS)}
    return Response(json.dumps(answer), 201, mimetype="application/json")


def _is_prefetch(asked: Request) -> bool:
    # Chat apps and browsers prefetch links, which must not use one up.
    purpose = asked.headers.get("sec-purpose", "") + asked.headers.get("purpose", "")
    return asked.method == "HEAD" or "prefetch" in purpose


def _expired() -> Response:
    return note(
        410,
        "This link has expired",
        "A link to connect a calendar works once, within five minutes.",
        "Go back to the application and start again.",
    )


def _started_elsewhere() -> Response:
    return note(
        403,
        "This was started in another browser",
        "A calendar has to be connected in one browser, from the link on, within an hour. Nothing"
        " was connected.",
        "If you want to connect a calendar, go back to the application and start again"
        " in this browser.",
        "If somebody sent you to the page where you gave permission, close this page: it would have"
        " connected your calendar to their account.",
        "If you see this again, allow cookies for this site.",
    )


def _unavailable(error: RecallError) -> Response:
    refusal = recall_problem(error)
    answer = note(
        refusal.status_code,
        "Temporarily unavailable",
        "Recall, which reads the calendars, did not answer. Reload this page in a minute.",
    )
    if "Retry-After" in refusal.headers:
        answer.headers["Retry-After"] = refusal.headers["Retry-After"]
    return answer
