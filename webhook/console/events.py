"""Events on the console: one with its attempts, sending again, and the endpoints."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from werkzeug.datastructures import MultiDict

from models.settings.environment import Settings
from webhook.console.rendering import Renderer
from webhook.services.events import EventActions, ResendRequest, Resent
from webhook.web.auth import current_caller
from webhook.web.signing import DONE, Signer
from webhook.web.validation import BadParameterError, checked

RESULT_SECONDS = 3600
_NOT_ASKED = {"form_token", "confirm"}


class EventPages:
    """Shows one event and the endpoints; previews a resend before it is done."""

    def __init__(self, settings: Settings, actions: EventActions, renderer: Renderer) -> None:
        self._actions = actions
        self._renderer = renderer
        self._results = Signer(settings, DONE)

    def event(self, event_id: str) -> Response:
        """Show one event with its deliveries and attempts."""
        found = self._actions.detail(event_id)
        if found is None:
            return self._renderer.error(404, "Unknown event.")
        return self._renderer.page(
            "event.html", "events", found=found, twins=[("JSON", f"/api/events/{event_id}")]
        )

    def preview(self) -> Response:
        """Show which events the filter in the URL holds; nothing changes on GET."""
        return self._preview(request.args)

    def resend(self) -> Response:
        """Preview what a form has chosen; send it again once that was confirmed."""
        if "confirm" not in request.form:
            return self._preview(request.form)
        try:
            done = self._actions.many(_wanted(request.form), current_caller().name)
        except BadParameterError as error:
            return self._renderer.error(400, str(error))
        result = self._results.sign(["events", done.resent, done.is_more])
        where = f"/console/events/resend/done?{urlencode({'result': result})}"
        return Response("", 303, {"Location": where})

    def done(self) -> Response:
        """Tell what is sent again."""
        kept = self._results.read(request.args.get("result", ""), RESULT_SECONDS)
        if not isinstance(kept, list) or kept[:1] != ["events"]:
            return self._renderer.error(400, "Unknown or expired result.")
        return self._renderer.page("resent.html", "events", done=Resent(*kept[1:]))

    def endpoints(self) -> Response:
        """Show the endpoints, and whether each gets its events."""
        return self._renderer.page(
            "event_endpoints.html",
            "events",
            endpoints=self._actions.endpoints(),
            twins=[("JSON", "/api/endpoints")],
        )

    def turn(self) -> Response:
        """Turn an endpoint off or on."""
        name, on = request.form.get("endpoint", ""), request.form.get("turn") == "on"
        if not self._actions.turn(name, current_caller().name, on=on):
            return self._renderer.error(404, "Unknown endpoint.")
        return Response("", 303, {"Location": "/console/events/endpoints"})

    def _preview(self, given: MultiDict[str, str]) -> Response:
        try:
            found = self._actions.preview(_wanted(given))
        except BadParameterError as error:
            detail = "Select some events first." if error.parameter == "body" else str(error)
            return self._renderer.error(400, detail)
        asked = [(name, value) for name, value in _given(given) if value]
        return self._renderer.page("resend.html", "events", found=found, asked=asked)


def _given(given: MultiDict[str, str]) -> Iterator[tuple[str, str]]:
    yield from ((name, v) for name, v in given.items(multi=True) if name not in _NOT_ASKED)


def _wanted(given: MultiDict[str, str]) -> ResendRequest:
    values: dict[str, Any] = {name: value for name, value in _given(given) if value}
    if "event_ids" in values:
        values["event_ids"] = given.getlist("event_ids")
    return checked(ResendRequest, values)
