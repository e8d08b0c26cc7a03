"""The result pages: the connection as Recall has it, or what went wrong.

Anybody can open these URLs, so a visit proves nothing; Recall is asked every time.
"""

from flask import Blueprint, Response, request
from sqlalchemy import Engine

from models.settings.calendar import PLATFORMS
from models.settings.redirect_urls import WebAddress
from webhook.calendar.connect_links import ConnectLinks, ConnectRequest
from webhook.calendar.oauth import PROVIDERS
from webhook.calendar.oauth_errors import known_failure, possible_failures
from webhook.calendar.responses import note, page
from workers.calendar_tokens.gateway import RecallGateway
from workers.calendars.user_list import keep_users, time_of_list
from workers.privacy.tombstones import UserErasedError
from workers.recall_api.calendar_schemas import CalendarConnection
from workers.recall_api.errors import RecallError

# Long enough to read whose calendar it is.
GO_ON_SECONDS = 3
LONGEST_ERROR = 300


class Results:
    """Looks up trips, and asks Recall for their result."""

    def __init__(self, engine: Engine, gateway: RecallGateway, links: ConnectLinks) -> None:
        self._engine = engine
        self._gateway = gateway
        self._links = links

    def request(self, trip: str) -> ConnectRequest | None:
        """Return the request of a trip; None if it is unknown or expired."""
        return self._links.trip(trip)

    def connection(self, wanted: ConnectRequest) -> CalendarConnection | None:
        """Return the connection as Recall has it now; RecallError, UserErasedError."""
        at = time_of_list(self._engine)
        with self._gateway.open() as recall:
            user = recall.users.act(wanted.external_id, recall.client.user)
        # Known at once, and not only after the next nightly check.
        keep_users(self._engine, [user], at)
        return user.connected_to(wanted.platform)


def add_results(routes: Blueprint, results: Results) -> None:
    """Add GET /calendar/connected and /calendar/failed."""

    @routes.get("/calendar/connected")
    def connected() -> Response:
        wanted = results.request(request.args.get("trip", ""))
        if wanted is None:
            return _unknown()
        try:
            connection = results.connection(wanted)
        except (RecallError, UserErasedError):
            return _unchecked()
        # Recall decides, not the redirect: without a connection, connecting has failed.
        return _failed(wanted, None) if connection is None else _connected(wanted, connection)

    @routes.get("/calendar/failed")
    def failed() -> Response:
        wanted = results.request(request.args.get("trip", ""))
        if wanted is None:
            return _help()
        try:
            connection = results.connection(wanted)
        except (RecallError, UserErasedError):
            connection = None
        return _failed(wanted, connection)


def _connected(wanted: ConnectRequest, connection: CalendarConnection) -> Response:
    name, target = PROVIDERS[wanted.platform].name, _target(wanted, "connected")
    answer = page("connected.html", name=name, email=connection.email, target=target)
    if target:
        # By header, because the page runs no script.
        answer.headers["Refresh"] = f"{GO_ON_SECONDS}; url={target}"
    return answer


def _failed(wanted: ConnectRequest, connection: CalendarConnection | None) -> Response:
    errors = [value for key, value in request.args.items(multi=True) if key != "trip"]
    failure = known_failure(errors, wanted.platform)
    return page(
        "failed.html",
        name=PROVIDERS[wanted.platform].name,
        failures=[failure] if failure else possible_failures(wanted.platform),
        is_known=failure is not None,
        # Shown, escaped, only to the browser of this trip: support asks for it.
        error=" ".join(errors)[:LONGEST_ERROR],
        connection=connection,
        target=_target(wanted, "failed"),
    )


def _help() -> Response:
    # Show nothing from the URL here: anybody may have written it.
    asked = request.args.get("platform")
    platform = next((one for one in PLATFORMS if one == asked), None)
    name = PROVIDERS[platform].name if platform else "Google or Microsoft"
    failures = possible_failures(platform)
    return page(
        "failed.html", name=name, failures=failures, is_known=False, error="", connection=None
    )


def _target(wanted: ConnectRequest, result: str) -> str | None:
    if wanted.return_to is None:
        return None
    added = f"calendar={result}&platform={wanted.platform}"
    return WebAddress.parse(wanted.return_to).with_query(added)


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
