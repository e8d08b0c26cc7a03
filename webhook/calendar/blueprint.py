"""The calendar companion for browsers: tokens, connecting, callbacks; each 404 until configured."""

import json
from typing import Any

import redis
from flask import Blueprint, Flask, Response, request
from sqlalchemy import Engine

from models.settings.environment import Settings
from webhook.calendar.connect import Connecting, add_callbacks, add_connecting
from webhook.calendar.connect_links import ConnectLinks
from webhook.calendar.requests import RequestGuard
from webhook.calendar.result_pages import Results, add_results
from webhook.calendar.single_flight import SingleFlight
from workers.calendar_tokens.gateway import RecallGateway
from workers.recall_api.errors import Endpoint, Fault, RecallError

# Of the threads that also take webhooks, the share that may wait for Recall at once.
RECALL_SHARE = 4
# A person waits in front of it, and a thread behind it.
RECALL_SECONDS = 6.0
# What all threads may wait for a token that another one asks for; half of them wait on.
SHARED_SECONDS = 1.0
WAITING_SHARE = 2
RETRY_SECONDS = 1.0


def init_app(
    app: Flask, settings: Settings, engine: Engine, redis_client: redis.Redis | None
) -> None:
    """Add the routes whose settings are there; SettingsError when RECALL_API_KEY is not."""
    if not settings.knows_callers and not settings.oauth_platforms:
        return
    door = RecallGateway(
        settings,
        engine,
        redis_client,
        places=max(1, settings.web_threads // RECALL_SHARE),
        seconds=RECALL_SECONDS,
    )
    # Its own folder of its own style: pages for strangers share nothing with the console.
    routes = Blueprint(
        "calendar", "webhook", static_folder="static/calendar", static_url_path="/calendar/static"
    )
    desk = RequestGuard(settings)
    routes.after_request(desk.let_read)
    links = ConnectLinks(engine, door.vault)
    if settings.knows_callers:
        most = max(1, settings.web_threads // WAITING_SHARE)
        shared = SingleFlight[str](patience=SHARED_SECONDS, longest=RECALL_SECONDS, most=most)
        add_token_exchange(routes, desk, door, shared)
    if settings.oauth_platforms:
        add_connecting(routes, settings, Connecting(settings, door, links), desk)
        add_callbacks(routes, settings)
        add_results(routes, Results(door, links))
    app.register_blueprint(routes)


def add_token_exchange(
    routes: Blueprint, desk: RequestGuard, door: RecallGateway, shared: SingleFlight[str]
) -> None:
    """Add what REACT_APP_AUTH_URL points at: {"userId": …} for {"token": …}.

    https://docs.recall.ai/docs/calendar-v1-faq
    """

    def proved(external_id: str) -> str:
        with door.open() as visit:
            return visit.users.proved(external_id).token

    def exchange(external_id: str, _body: dict[str, Any]) -> Response:
        # A page that loads asks several times at once: one way to Recall, one answer for all.
        try:
            token = shared.share(external_id, lambda: proved(external_id))
        except TimeoutError:
            raise RecallError(
                Fault.HELD, Endpoint.AUTHENTICATE, retry_after=RETRY_SECONDS
            ) from None
        return Response(json.dumps({"token": token}), mimetype="application/json")

    @routes.route(
        "/calendar/auth-token", methods=["POST", "OPTIONS"], provide_automatic_options=False
    )
    def auth_token() -> Response:
        return desk.serve(request, exchange)
