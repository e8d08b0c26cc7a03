"""The console's routes under /console/: pages behind the same tokens as the API."""

from dataclasses import dataclass

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException

from models.core.database_errors import is_too_slow
from models.core.database_remedies import TOO_SLOW
from models.queries.registry import LISTS
from models.settings.environment import Settings
from webhook.console.calendar import CalendarPages
from webhook.console.events import EventPages
from webhook.console.login import Sessions
from webhook.console.pages import Pages
from webhook.console.people import PeoplePages
from webhook.console.relink import Relinking
from webhook.console.rendering import Renderer, add_headers
from webhook.console.search import SearchPage
from webhook.services.calendar_actions import CalendarActions
from webhook.services.events import EventActions
from webhook.services.people import People
from webhook.services.reader import Reader
from webhook.services.relink import RelinkService
from webhook.web.auth import Access
from webhook.web.problems import note, of_http, problem

PREFIX = "/console"
NOTHING_HERE = "nothing is here: see /console/, and /api/openapi.json for the API"
AWAY = "The database does not answer. No received webhook is lost."
BUG = "Internal error. Look for the id {} in the log."


@dataclass(frozen=True, slots=True)
class Services:
    """What the pages read with and what their forms make changes with."""

    reader: Reader
    relink_service: RelinkService
    calendar_actions: CalendarActions
    event_actions: EventActions
    people: People


def init_app(app: Flask, settings: Settings, access: Access, services: Services) -> None:
    """Add the console to an application."""
    renderer = Renderer(app, access)
    sessions = Sessions(access, renderer)
    routes = Blueprint("console", "webhook", url_prefix=PREFIX, static_folder="static")
    routes.before_request(sessions.guard)
    routes.after_request(add_headers)
    _add_sessions(routes, sessions)
    _add_relinking(routes, Relinking(settings, services.reader, services.relink_service, renderer))
    _add_calendar(routes, CalendarPages(services.reader, services.calendar_actions, renderer))
    _add_events(routes, EventPages(settings, services.event_actions, renderer))
    _add_people(routes, PeoplePages(settings, services.people, renderer))
    routes.add_url_rule("/search", "search", SearchPage(services.reader, renderer).search)
    # Last, because its last route matches every unknown path.
    _add_pages(routes, Pages(settings, services.reader, renderer))

    @routes.errorhandler(Exception)
    def of_any(error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return of_http(error)
        if is_too_slow(error):
            return renderer.error(503, f"{TOO_SLOW.capitalize()}.")
        failure = note(error)
        if failure.is_away:
            return renderer.error(503, AWAY)
        return renderer.error(500, BUG.format(failure.id))

    app.register_blueprint(routes)
    app.add_url_rule("/", "home", home)


def home() -> Response:
    """Send a browser to the console; show a script the addresses."""
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    if best == "text/html":
        response = Response("", 302, {"Location": f"{PREFIX}/"})
    else:
        response = problem(404, NOTHING_HERE)
    response.vary.add("Accept")
    return response


def _add_sessions(routes: Blueprint, sessions: Sessions) -> None:
    routes.add_url_rule("/login", "login", sessions.login)
    routes.add_url_rule("/login", "log_in", sessions.log_in, methods=["POST"])
    routes.add_url_rule("/logout", "log_out", sessions.log_out, methods=["POST"])


def _add_relinking(routes: Blueprint, relinking: Relinking) -> None:
    routes.add_url_rule("/relink", "relink_preview", relinking.preview)
    routes.add_url_rule("/relink", "relink", relinking.relink, methods=["POST"])
    routes.add_url_rule("/relink/done", "relinked", relinking.done)
    routes.add_url_rule("/failures/batches/<number>", "relink_batch", relinking.batch)


def _add_events(routes: Blueprint, events: EventPages) -> None:
    routes.add_url_rule("/events/<event_id>", "event", events.event)
    routes.add_url_rule("/events/resend", "resend_preview", events.preview)
    routes.add_url_rule("/events/resend", "resend", events.resend, methods=["POST"])
    routes.add_url_rule("/events/resend/done", "resent", events.done)
    routes.add_url_rule("/events/endpoints", "event_endpoints", events.endpoints)
    routes.add_url_rule("/events/endpoints", "event_turn", events.turn, methods=["POST"])


def _add_calendar(routes: Blueprint, calendar: CalendarPages) -> None:
    routes.add_url_rule("/calendar/", "calendar", calendar.search)
    routes.add_url_rule("/calendar/user", "calendar_user", calendar.user)
    routes.add_url_rule("/calendar/user", "calendar_act", calendar.act, methods=["POST"])


def _add_people(routes: Blueprint, people: PeoplePages) -> None:
    routes.add_url_rule("/people", "people", people.person)
    routes.add_url_rule("/people", "erase_person", people.erase, methods=["POST"])
    routes.add_url_rule("/people/export", "export_person", people.export, methods=["POST"])
    routes.add_url_rule("/people/done", "person_erased", people.done)


def _add_pages(routes: Blueprint, pages: Pages) -> None:
    routes.add_url_rule("/", "overview", pages.overview)
    for kind in LISTS:
        routes.add_url_rule(f"/{kind.name}", kind.name, pages.listing(kind))
    routes.add_url_rule("/calendar/findings", "old_findings", pages.old_findings)
    routes.add_url_rule("/bot", "open_bot", pages.open_bot)
    routes.add_url_rule("/bots/<bot_id>", "bot", pages.bot)
    routes.add_url_rule("/<path:rest>", "missing", pages.missing)
