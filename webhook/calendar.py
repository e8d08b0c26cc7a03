"""The calendar companion for browsers: tokens, connecting, callbacks; each 404 until configured."""

import json
from typing import Any

import redis
from flask import Blueprint, Flask, Response, request
from sqlalchemy import Engine

from models.settings import Settings
from webhook.calendar_connect import Connecting, add_callbacks, add_connecting
from webhook.calendar_desk import Desk
from webhook.calendar_links import ConnectLinks
from webhook.calendar_result import Results, add_results
from workers.calendar_door import CalendarDoor

# Of the threads that also take webhooks, the share that may wait for Recall at once.
RECALL_SHARE = 4
# A person waits in front of it, and a thread behind it.
RECALL_SECONDS = 6.0


def init_app(
    app: Flask, settings: Settings, engine: Engine, redis_client: redis.Redis | None
) -> None:
    """Add the routes whose settings are there; SettingsError when RECALL_API_KEY is not."""
    if not settings.knows_callers and not settings.connectable:
        return
    door = CalendarDoor(
        settings,
        engine,
        redis_client,
        places=max(1, settings.web_threads // RECALL_SHARE),
        seconds=RECALL_SECONDS,
    )
    # Its own folder of its own style: pages for strangers share nothing with the console.
    routes = Blueprint(
        "calendar", __name__, static_folder="static/calendar", static_url_path="/calendar/static"
    )
    desk = Desk(settings)
    routes.after_request(desk.let_read)
    links = ConnectLinks(engine, door.vault)
    if settings.knows_callers:
        add_token_exchange(routes, desk, door)
    if settings.connectable:
        add_connecting(routes, settings, Connecting(settings, door, links), desk)
        add_callbacks(routes, settings)
        add_results(routes, Results(door, links))
    app.register_blueprint(routes)


def add_token_exchange(routes: Blueprint, desk: Desk, door: CalendarDoor) -> None:
    """Add what REACT_APP_AUTH_URL points at: {"userId": …} for {"token": …}.

    https://docs.recall.ai/docs/calendar-v1-faq
    """

    def exchange(external_id: str, _body: dict[str, Any]) -> Response:
        with door.open() as visit:
            token = visit.users.proved(external_id)
        return Response(json.dumps({"token": token.token}), mimetype="application/json")

    @routes.route(
        "/calendar/auth-token", methods=["POST", "OPTIONS"], provide_automatic_options=False
    )
    def auth_token() -> Response:
        return desk.serve(request, exchange)
