"""Where a browser ends: what Recall itself says of the connection, and what went wrong.

That a browser came to one of these addresses proves nothing: anybody can type them.
"""

from flask import Blueprint, Response, request

from models.settings.calendar import PLATFORMS
from models.settings.redirect_urls import WebAddress
from webhook.calendar.connect_links import ConnectLinks, ConnectRequest
from webhook.calendar.oauth import PROVIDERS
from webhook.calendar.oauth_errors import known_failure, possible_failures
from webhook.calendar.responses import note, page
from workers.calendar_tokens.gateway import RecallGateway
from workers.privacy.tombstones import UserErasedError
from workers.recall_api.calendar_schemas import CalendarConnection
from workers.recall_api.errors import RecallError

# Long enough to read whose calendar it is.
GO_ON_SECONDS = 3
LONGEST_TOLD = 300


class Results:
    """Looks trips up, and asks Recall how they ended."""

    def __init__(self, door: RecallGateway, links: ConnectLinks) -> None:
        self._door = door
        self._links = links

    def errand(self, trip: str) -> ConnectRequest | None:
        """Return what a trip was for; None for one we do not know, or that is over."""
        return self._links.trip(trip)

    def standing(self, errand: ConnectRequest) -> CalendarConnection | None:
        """Return the connection as Recall has it now; RecallError, UserErasedError."""
        with self._door.open() as visit:
            user = visit.users.act(errand.external_id, visit.client.user)
        return user.connected_to(errand.platform)


def add_results(routes: Blueprint, results: Results) -> None:
    """Add GET /calendar/connected and /calendar/failed."""

    @routes.get("/calendar/connected")
    def connected() -> Response:
        errand = results.errand(request.args.get("trip", ""))
        if errand is None:
            return _unknown()
        try:
            standing = results.standing(errand)
        except (RecallError, UserErasedError):
            return _unchecked()
        # Recall's word against the redirect's: without a connection it has failed after all.
        return _failed(errand, None) if standing is None else _connected(errand, standing)

    @routes.get("/calendar/failed")
    def failed() -> Response:
        errand = results.errand(request.args.get("trip", ""))
        if errand is None:
            return _help()
        try:
            standing = results.standing(errand)
        except (RecallError, UserErasedError):
            standing = None
        return _failed(errand, standing)


def _connected(errand: ConnectRequest, standing: CalendarConnection) -> Response:
    name, target = PROVIDERS[errand.platform].name, _target(errand, "connected")
    answer = page("connected.html", name=name, email=standing.email, target=target)
    if target:
        # By header: no script runs here.
        answer.headers["Refresh"] = f"{GO_ON_SECONDS}; url={target}"
    return answer


def _failed(errand: ConnectRequest, standing: CalendarConnection | None) -> Response:
    told = [value for key, value in request.args.items(multi=True) if key != "trip"]
    failure = known_failure(told, errand.platform)
    return page(
        "failed.html",
        name=PROVIDERS[errand.platform].name,
        failures=[failure] if failure else possible_failures(errand.platform),
        is_known=failure is not None,
        # Shown to whoever made this very trip, escaped: support asks for it.
        told=" ".join(told)[:LONGEST_TOLD],
        standing=standing,
        target=_target(errand, "failed"),
    )


def _help() -> Response:
    # Nothing of the address is shown here: a stranger may have written it.
    asked = request.args.get("platform")
    platform = next((one for one in PLATFORMS if one == asked), None)
    name = PROVIDERS[platform].name if platform else "Google or Microsoft"
    failures = possible_failures(platform)
    return page("failed.html", name=name, failures=failures, is_known=False, told="", standing=None)


def _target(errand: ConnectRequest, result: str) -> str | None:
    if errand.return_to is None:
        return None
    added = f"calendar={result}&platform={errand.platform}"
    return WebAddress.parse(errand.return_to).with_query(added)


def _unknown() -> Response:
    return note(
        404,
        "Unknown connection",
        "This page shows the result of connecting a calendar for one hour.",
        "Go back to the application to see which calendars are connected.",
    )


def _unchecked() -> Response:
    return note(
        503,
        "The result is not known yet",
        "Recall, which reads the calendars, did not answer. Reload this page in a minute.",
    )
