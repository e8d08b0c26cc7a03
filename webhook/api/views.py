"""The JSON and CSV API: reads, and the one change that operators make, relink."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from flask import Blueprint, Response, request

from models.core.sanitize import plain_uuid
from models.core.serialize import plain
from models.queries.alarms.alerts import alarms
from models.queries.bot_detail import explain
from models.queries.events.endpoints import EndpointRow
from models.queries.failures.relink_batches import (
    RelinkBatchRow,
    batch_result,
    latest_batches,
)
from models.queries.registry import LISTS, ListKind
from models.queries.service_status import overview
from models.settings.environment import Settings
from webhook.api.openapi import document
from webhook.services.events import EventActions, ResendRequest
from webhook.services.people import People, PersonQuery
from webhook.services.reader import Reader
from webhook.services.relink import RelinkRequest, RelinkService
from webhook.web.auth import Access, current_caller
from webhook.web.csv_export import csv_lines
from webhook.web.params import Cursors, Format, query_model, read_json, read_query
from webhook.web.problems import problem
from webhook.web.transfer import conditional_and_gzipped
from webhook.web.validation import BadParameterError, batch_number
from workers.privacy.person import HeldRow

PREFIX = "/api"
DESCRIPTION = "api.openapi"

View = Callable[..., Response]


class Api:
    """The views; each returns JSON, CSV or a problem document."""

    def __init__(
        self,
        settings: Settings,
        reader: Reader,
        relink_service: RelinkService,
        event_actions: EventActions,
        people: People,
    ) -> None:
        self._reader = reader
        self._relink_service = relink_service
        self._event_actions = event_actions
        self._people = people
        self._cursors = Cursors(settings)
        self._server = settings.public_url or "/"

    def listing(self, kind: ListKind) -> View:
        """Return the view of one list."""
        asked_model = query_model(kind.wanted)

        def view() -> Response:
            asked: Any = read_query(request, asked_model)
            listing = kind.listing(asked, self._reader.dialect)
            if _is_csv(asked):
                lines = csv_lines(self._reader.stream(listing), kind.row)
                return _csv(lines, f"{kind.name}.csv")
            name = f"{kind.name} by {listing.order[0]}"
            after = self._cursors.read(name, asked.cursor, listing)
            page = self._reader.read(lambda c: listing.page(c, asked.limit, after))
            return _json({"items": page.rows, "next": self._cursors.write(name, page.next)})

        return view

    def bot(self, bot_id: str) -> Response:
        """Explain one bot."""
        found = self._reader.read(lambda c: explain(c, _known_form(bot_id)))
        return _json(found) if found else _unknown(bot_id)

    def status(self) -> Response:
        """Return the state of the service and its active alarms."""

        def read(connection: Any) -> dict[str, Any]:
            found = overview(connection)
            return {"overview": found, "alarms": alarms(connection, found)}

        found = self._reader.read(read)
        return _json({**plain(found["overview"]), "alarms": found["alarms"]})

    def relink_one(self, bot_id: str) -> Response:
        """Retry linking one bot."""
        done = self._relink_service.one(_known_form(bot_id), current_caller().name)
        return _json({"bot_id": bot_id, "relinked": 1}, 202) if done else _unknown(bot_id)

    def relink_many(self) -> Response:
        """Retry linking the bots that match a filter, or preview them."""
        wanted = read_json(request, RelinkRequest)
        if wanted.preview:
            return _json(self._relink_service.preview(wanted))
        return _json(self._relink_service.many(wanted, current_caller().name), 202)

    def batches(self) -> Response:
        """Return the latest bulk retries."""
        return _whole(RelinkBatchRow, "batches", self._reader.read(latest_batches), Format)

    def batch(self, number: str) -> Response:
        """Return what came of one bulk retry."""
        found = self._reader.read(lambda c: batch_result(c, batch_number(number)))
        return _json(found) if found else problem(404, "unknown batch", number=number)

    def event(self, event_id: str) -> Response:
        """Return one event with its deliveries and attempts."""
        found = self._event_actions.detail(event_id)
        return _json(found) if found else problem(404, "unknown event", event_id=event_id)

    def resend_one(self, event_id: str) -> Response:
        """Send one event again."""
        if self._event_actions.one(event_id, current_caller().name):
            return _json({"event_id": event_id, "resent": 1}, 202)
        return problem(404, "unknown event, or no endpoint takes it", event_id=event_id)

    def resend_many(self) -> Response:
        """Send the events of a filter again, or preview which they are."""
        wanted = read_json(request, ResendRequest)
        if wanted.preview:
            return _json(self._event_actions.preview(wanted))
        return _json(self._event_actions.many(wanted, current_caller().name), 202)

    def people(self) -> Response:
        """Return how much is stored about a person, by table."""
        asked = read_query(request, PersonQuery)
        _, rows = self._people.find(asked.email)
        return _whole(HeldRow, "people", rows, PersonQuery)

    def endpoints(self) -> Response:
        """Return the endpoints of EVENTS_URL, each with how it stands."""
        return _whole(EndpointRow, "endpoints", self._event_actions.endpoints(), Format)

    def turn_endpoint(self, name: str, *, on: bool) -> Response:
        """Turn an endpoint on or off."""
        done = self._event_actions.turn(name, current_caller().name, on=on)
        return _json(done) if done else problem(404, "unknown endpoint", endpoint=name)

    def description(self) -> Response:
        """Return the OpenAPI document."""
        return _json(document(self._server))


def blueprint(api: Api, access: Access) -> Blueprint:
    """Return the routes; each but the API's description requires a token."""
    routes = Blueprint("api", __name__, url_prefix=PREFIX)
    # The description is in the repository anyway, and tools fetch it without a token.
    routes.before_request(lambda: None if request.endpoint == DESCRIPTION else access.guard())
    routes.after_request(conditional_and_gzipped)
    for kind in LISTS:
        routes.add_url_rule(f"/{kind.name}", kind.name, api.listing(kind))
    routes.add_url_rule("/bots/<bot_id>", "bot", api.bot)
    routes.add_url_rule("/people", "people", api.people)
    routes.add_url_rule("/status", "status", api.status)
    routes.add_url_rule("/bots/<bot_id>/relink", "relink_one", api.relink_one, methods=["POST"])
    routes.add_url_rule("/relink", "relink_many", api.relink_many, methods=["POST"])
    routes.add_url_rule("/failures/batches", "batches", api.batches)
    routes.add_url_rule("/failures/batches/<number>", "batch", api.batch)
    routes.add_url_rule("/events/<event_id>", "event", api.event)
    for path, one in (
        ("/events/<event_id>/resend", api.resend_one),
        ("/events/resend", api.resend_many),
    ):
        routes.add_url_rule(path, one.__name__, one, methods=["POST"])
    routes.add_url_rule("/endpoints", "endpoints", api.endpoints)
    for word in ("on", "off"):
        turn = partial(api.turn_endpoint, on=word == "on")
        routes.add_url_rule(f"/endpoints/<name>/{word}", f"endpoint_{word}", turn, methods=["POST"])
    routes.add_url_rule("/openapi.json", "openapi", api.description)
    routes.register_error_handler(BadParameterError, _bad_parameter)
    return routes


def _bad_parameter(error: Exception) -> Response:
    parameter = getattr(error, "parameter", "")
    return problem(400, str(error), parameter=parameter)


def _known_form(bot_id: str) -> str:
    if (found := plain_uuid(bot_id)) is None:
        raise BadParameterError("bot_id", "must be a UUID of 36 characters")
    return found


def _unknown(bot_id: str) -> Response:
    return problem(404, "unknown bot: no webhook received", bot_id=bot_id)


def _is_csv(asked: Format) -> bool:
    if asked.format is not None:
        return asked.format == "csv"
    best = request.accept_mimetypes.best_match(["application/json", "text/csv"])
    return best == "text/csv"


def _whole(row: type, name: str, rows: Sequence[Any], asked: type[Format]) -> Response:
    """Answer with a list that has no second page."""
    if _is_csv(read_query(request, asked)):
        return _csv(csv_lines(rows, row), f"{name}.csv")
    return _json({"items": rows, "next": None})


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(plain(value)), status, mimetype="application/json")


def _csv(lines: Iterator[str], name: str) -> Response:
    response = Response(lines, mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
