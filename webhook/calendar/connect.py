"""Connecting a calendar: a proved caller gets a link, a browser follows it once, and comes back.

A navigated GET can carry no proof of who asks; without one anybody could attach a calendar to
anybody. So the proof is given by POST, and the GET takes nothing but the link.
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
from webhook.calendar.requests import RequestGuard, of_recall
from webhook.calendar.responses import Forward, note
from webhook.web.problems import problem
from workers.calendar_tokens.gateway import RecallGateway
from workers.privacy.tombstones import UserErasedError
from workers.recall_api.calendar_schemas import CalendarConnection
from workers.recall_api.errors import RecallError

_YES = (True, 1, "1", "true")


class BadTargetError(ValueError):
    """A return target that CALENDAR_RETURN_URLS does not hold, or that is no clean address."""


class Connecting:
    """Makes links and follows them; what would clear a calendar's data is refused by name."""

    def __init__(self, settings: Settings, door: RecallGateway, links: ConnectLinks) -> None:
        self._settings = settings
        self._door = door
        self._links = links
        self._cookies = StateCookies(settings)

    def errand(
        self, external_id: str, platform: Platform, return_to: str | None, *, replace: bool
    ) -> ConnectRequest:
        """Return what a link is to be made for; BadTargetError for a target that is not allowed."""
        if return_to is not None:
            return_to = self._target(return_to)
        return ConnectRequest(external_id, platform, return_to, replace)

    def link(self, errand: ConnectRequest) -> str:
        """Return a link's address, good once and for 5 minutes."""
        secret = self._links.make(errand)
        return f"{self._settings.public_url}/calendar/connect/{errand.platform}?link={secret}"

    def in_the_way(self, errand: ConnectRequest) -> CalendarConnection | None:
        """Return the calendar that connecting would clear against the caller's will; RecallError.

        https://docs.recall.ai/docs/calendar-v1-faq: the latest of a platform clears the former.
        """
        if errand.replace:
            return None
        try:
            with self._door.open() as visit:
                user = visit.users.act(errand.external_id, visit.client.user)
        except UserErasedError:
            # Nothing of theirs is left at Recall, and asking would make the user too early.
            return None
        return user.connected_to(errand.platform)

    def follow(self, secret: str, platform: Platform) -> Response:
        """Send a browser to the provider with a fresh token, if the link is still good."""
        errand = self._links.errand(secret, platform)
        if errand is None:
            return _over()
        # Looked at again: another calendar may have come in the link's five minutes. What fails
        # before the link is used up leaves it good for another click.
        with self._door.open() as visit:
            token = visit.users.mint(errand.external_id)
            standing = visit.client.user(token).connected_to(platform)
        if standing and not errand.replace:
            return note(409, "A calendar is already connected", why_in_the_way(platform, standing))
        trip = self._links.follow(secret, errand)
        if trip is None:
            return _over()
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


def why_in_the_way(platform: Platform, standing: CalendarConnection) -> str:
    """Say why a second calendar of a platform is not connected just so."""
    name = PROVIDERS[platform].name
    return (
        f"The {name} calendar {standing.email or ''} is already connected. A user has one"
        f" {name} calendar: connecting another one clears the bots and calendar data of the first."
        " To do that, use replace=1."
    )


def add_connecting(
    routes: Blueprint, settings: Settings, connecting: Connecting, desk: RequestGuard
) -> None:
    """Add POST, where there is a way to tell who asks, and GET /calendar/connect/{platform}."""
    methods = ["POST", "OPTIONS"]

    @routes.route("/calendar/connect/<platform>", methods=methods, provide_automatic_options=False)
    def ask(platform: str) -> Response:
        named = known_platform(settings, platform)
        if not settings.knows_callers:
            abort(404)
        return desk.serve(request, lambda user, body: _link(connecting, user, named, body))

    @routes.get("/calendar/connect/<platform>", provide_automatic_options=False)
    def follow(platform: str) -> Response:
        named = known_platform(settings, platform)
        if _is_only_looking(request):
            return Response(status=204)
        try:
            return connecting.follow(request.args.get("link", ""), named)
        except RecallError as error:
            return _not_now(error)


def add_callbacks(routes: Blueprint, settings: Settings) -> None:
    """Add GET /calendar/callback/{platform}, which Google wants on a domain of one's own."""
    cookies = StateCookies(settings)

    @routes.get("/calendar/callback/<platform>")
    def callback(platform: str) -> Response:
        named = known_platform(settings, platform)
        # Raw: a code that is decoded and encoded again is another code.
        query = request.environ.get("QUERY_STRING", "")
        if not cookies.knows(request, query):
            return _not_begun_here()
        return Forward(recall_callback(settings, named, query))


def known_platform(settings: Settings, platform: str) -> Platform:
    """Return a platform that has an OAuth client; 404 for any other."""
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
        errand = connecting.errand(external_id, platform, return_to, replace=replace)
    except BadTargetError as error:
        return problem(400, str(error), parameter="returnTo")
    if standing := connecting.in_the_way(errand):
        words = why_in_the_way(platform, standing)
        return problem(409, words, reason="already_connected", email=standing.email)
    answer = {"url": connecting.link(errand), "expires_in": int(LINK_SECONDS)}
    return Response(json.dumps(answer), 201, mimetype="application/json")


def _is_only_looking(asked: Request) -> bool:
    # Chat programs and browsers look ahead; that must not use a link up.
    purpose = asked.headers.get("sec-purpose", "") + asked.headers.get("purpose", "")
    return asked.method == "HEAD" or "prefetch" in purpose


def _over() -> Response:
    return note(
        410,
        "This link has expired",
        "A link to connect a calendar works once, within five minutes.",
        "Go back to the application and start again.",
    )


def _not_begun_here() -> Response:
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


def _not_now(error: RecallError) -> Response:
    told = of_recall(error)
    answer = note(
        told.status_code,
        "Temporarily unavailable",
        "Recall, which reads the calendars, did not answer. Reload this page in a minute.",
    )
    if "Retry-After" in told.headers:
        answer.headers["Retry-After"] = told.headers["Retry-After"]
    return answer
