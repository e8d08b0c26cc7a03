"""The read-only pages: the overview, the lists and one bot."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlencode

from flask import Response, redirect, request
from pydantic import BaseModel, Field, create_model
from sqlalchemy import Connection
from werkzeug.wrappers import Response as AnyResponse

from models.core.sanitize import plain_uuid
from models.queries.alarms.alerts import alarms
from models.queries.alarms.bot_ends import ends_by_day
from models.queries.bot_detail import explain, has_delivery
from models.queries.calendars.missed import count_missed
from models.queries.calendars.nightly_check import last_nightly_check
from models.queries.calendars.same_meeting import count_same
from models.queries.failures.relink_batches import latest_batches
from models.queries.filters import Filter, Limit
from models.queries.registry import BOTS, FAILURES, FINDINGS, LINKS, MISSED, ListKind
from models.queries.search import look_up
from models.queries.service_status import overview
from models.queries.timeline import timeline
from models.settings.environment import Settings
from models.tables.base import database_time
from webhook.console.charts import chart, chart_of_ends, latency
from webhook.console.forms import form_fields
from webhook.console.rendering import Renderer
from webhook.services.reader import Reader
from webhook.web.params import Cursors, is_given, query_model, read_query
from webhook.web.validation import BadParameterError

ROWS = 50
BATCHES = 5
NOT_FOUND = (
    "Nothing has this id. You can open a bot by its id, or the first 8 characters of it or more,"
    " and a webhook by its message id."
)
# Not filters, so they are left out of links to the same list in another format.
_PAGING = ("cursor", "limit", "format")
# Lists without a place of their own in the navigation.
_PLACES = {"calendar-users": "calendar", "findings": "calendar", "reconciles": "overview"}

View = Callable[..., AnyResponse]


class Pages:
    """Reads the same data as the API and renders it as pages."""

    def __init__(self, settings: Settings, reader: Reader, renderer: Renderer) -> None:
        self._reader = reader
        self._renderer = renderer
        self._cursors = Cursors(settings)

    def overview(self) -> Response:
        """Show the state of the service and its active alarms."""

        def read(connection: Connection) -> dict[str, Any]:
            found = overview(connection)
            ends = ends_by_day(connection, found.at)
            return {"found": found, "ends": ends, "alarms": alarms(connection, found)}

        read_at_once = self._reader.read(read)
        found = read_at_once["found"]
        charts = [
            chart("Deliveries", found.hours, lambda hour: hour.deliveries),
            chart("Link attempts", found.hours, lambda hour: hour.links),
            chart("Rejected requests", found.hours, lambda hour: hour.rejections, "bad"),
            chart_of_ends(read_at_once["ends"]),
        ]
        return self._renderer.page(
            "overview.html",
            "overview",
            charts=charts,
            latency=latency(found.latency),
            twins=[("JSON", "/api/status")],
            **read_at_once,
        )

    def listing(self, kind: ListKind) -> View:
        """Return the view of one list: search form, rows and paging."""
        model = _page_model(kind.wanted)

        def view() -> Response:
            given = {n: v for n, v in request.args.to_dict().items() if is_given(n, v)}
            try:
                asked: Any = read_query(request, model)
                found = self._found(kind, asked)
            except BadParameterError as error:
                return self._list(kind, 400, given, wrong=error)
            return self._list(kind, 200, given, **found)

        return view

    def open_bot(self) -> AnyResponse:
        """Redirect to what a pasted id names: a bot, several bots, or a message."""
        text = request.args.get("bot_id", "").strip()
        # The bot's page can also say that its webhook is not processed yet.
        if (bot_id := plain_uuid(text)) is not None:
            return redirect(f"/console/bots/{bot_id}", 303)
        found = self._reader.read(lambda connection: look_up(connection, text))
        if len(found.bot_ids) == 1:
            return redirect(f"/console/bots/{found.bot_ids[0]}", 303)
        if found.bot_ids:
            return redirect(f"/console/bots?{urlencode({'bot_id': text})}", 303)
        if found.message_in:
            return redirect(f"/console/{found.message_in}?{urlencode({'message_id': text})}", 303)
        return self._renderer.error(404, NOT_FOUND)

    def bot(self, bot_id: str) -> Response:
        """Explain one bot."""
        if (known_form := plain_uuid(bot_id)) is None:
            return self._renderer.error(400, "A bot's id is a UUID of 36 characters.")

        def read(connection: Connection) -> tuple[Any, ...]:
            found = explain(connection, known_form)
            is_new = found is None and has_delivery(connection, known_form)
            return found, is_new, database_time(connection)

        found, is_new, now = self._reader.read(read)
        if found is None:
            words = "A webhook for this bot is not processed yet: try again in a moment."
            words = words if is_new else "We have received no webhook for this bot."
            return self._renderer.error(404, words)
        return self._renderer.page(
            "bot.html",
            "bots",
            found=found,
            moments=timeline(found),
            now=now,
            twins=[("JSON", f"/api/bots/{known_form}")],
        )

    def old_findings(self) -> AnyResponse:
        """Lead to where the findings were before they were a list."""
        return redirect("/console/findings", 308)

    def missing(self, rest: str) -> Response:
        """Answer 404 for an unknown path."""
        return self._renderer.error(404, f"There is no page /console/{rest}.")

    def _found(self, kind: ListKind, asked: Any) -> dict[str, Any]:
        listing = kind.listing(asked, self._reader.dialect)
        # The API's cursor name, so that the JSON link of a page starts where the page does.
        name = f"{kind.name} by {listing.order[0]}"
        after = self._cursors.read(name, asked.cursor, listing)

        def read(connection: Connection) -> dict[str, Any]:
            page = listing.page(connection, asked.limit, after)
            found = {"rows": page.rows, "now": database_time(connection), "next": page.next}
            if kind is MISSED:
                found["counts"] = count_missed(connection, asked)
            if kind in (MISSED, FINDINGS):
                found["check"] = last_nightly_check(connection)
            if kind is FAILURES:
                found["batches"] = latest_batches(connection, BATCHES)
            return found | ({"same": count_same(connection, page.rows)} if kind is LINKS else {})

        found = self._reader.read(read)
        return found | {"next": self._cursors.write(name, found["next"])}

    def _list(
        self,
        kind: ListKind,
        status: int,
        given: Mapping[str, str],
        wrong: BadParameterError | None = None,
        **found: Any,
    ) -> Response:
        parameter, detail = (wrong.parameter, wrong.detail) if wrong else ("", "")
        fields = form_fields(kind.wanted, given, parameter, detail)
        # An error without a form field to show it beside: a cursor, or an unknown name.
        has_no_field = wrong is not None and parameter not in {field.name for field in fields}
        filters = {name: value for name, value in given.items() if name not in _PAGING}
        return self._renderer.page(
            f"{kind.name}.html",
            _place(kind, filters),
            status,
            kind=kind,
            fields=fields,
            error=str(wrong) if has_no_field else None,
            query=urlencode(filters),
            paging=urlencode({n: v for n, v in given.items() if n not in ("cursor", "format")}),
            filters=filters,
            is_later_page="cursor" in given,
            twins=_twins(kind, given, filters),
            **({"rows": None, "now": None, "next": None} | found),
        )


@cache
def _page_model(wanted: type[Filter]) -> type[BaseModel]:
    paged = query_model(wanted)
    limit: Any = (Limit, Field(ROWS))
    return create_model(f"{paged.__name__}Page", __base__=paged, limit=limit)


def _place(kind: ListKind, filters: Mapping[str, str]) -> str:
    is_unlinked = kind is BOTS and filters.get("link_state") in ("failing", "unlinked")
    return "unlinked" if is_unlinked else _PLACES.get(kind.name, kind.name)


def _twins(
    kind: ListKind, given: Mapping[str, str], filters: Mapping[str, str]
) -> list[tuple[str, str]]:
    same_page = {name: value for name, value in given.items() if name != "format"}
    whole = dict(filters) | {"format": "csv"}
    path = f"/api/{kind.name}"
    query = urlencode({"limit": str(ROWS)} | same_page)
    return [("JSON", f"{path}?{query}"), ("CSV", f"{path}?{urlencode(whole)}")]
