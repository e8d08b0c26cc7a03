"""The calendar routes for browsers: tokens, connecting, callbacks; 404 until configured."""

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

# A quarter of the threads, which also receive webhooks, may wait for Recall at once.
RECALL_SHARE = 4
# A person and a thread wait for this.
RECALL_SECONDS = 6.0
# How long a thread waits for a token that another one is requesting; half of the threads may wait
# longer.
SHARED_SECONDS = 1.0
WAITING_SHARE = 2
RETRY_SECONDS = 1.0


def init_app(
    app: Flask, settings: Settings, engine: Engine, redis_client: redis.Redis | None
) -> None:
    """Add the configured routes; SettingsError without RECALL_API_KEY."""
    if not settings.knows_callers and not settings.oauth_platforms:
        return
    gateway = RecallGateway(
        settings,
        engine,
        redis_client,
        places=max(1, settings.web_threads // RECALL_SHARE),
        seconds=RECALL_SECONDS,
    )
    # Its own static folder: these public pages share nothing with the console.
    routes = Blueprint(
        "calendar", "webhook", static_folder="static/calendar", static_url_path="/calendar/static"
    )
    guard = RequestGuard(settings)
    routes.after_request(guard.let_read)
    links = ConnectLinks(engine, gateway.vault)
    if settings.knows_callers:
        most = max(1, settings.web_threads // WAITING_SHARE)
        shared = SingleFlight[str](patience=SHARED_SECONDS, longest=RECALL_SECONDS, most=most)
        add_token_exchange(routes, guard, gateway, shared)
    if settings.oauth_platforms:
        add_connecting(routes, settings, Connecting(settings, gateway, links), guard)
        add_callbacks(routes, settings)
        add_results(routes, Results(engine, gateway, links))
    app.register_blueprint(routes)


def add_token_exchange(
    routes: Blueprint, guard: RequestGuard, gateway: RecallGateway, shared: SingleFlight[str]
) -> None:
    """Add the route for REACT_APP_AUTH_URL: takes {"userId": …}, returns {"token": …}.

    https://docs.recall.ai/docs/calendar-v1-faq
    """

    def proved(external_id: str) -> str:
        with gateway.open() as recall:
            return recall.users.checked_token(external_id).token

    def exchange(external_id: str, _body: dict[str, Any]) -> Response:
        # A page asks several times while it loads; one call to Recall answers all of them.
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
        return guard.serve(request, exchange)
