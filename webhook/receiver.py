"""POST /webhooks/recall: verify, classify, commit, answer; in this order and no other."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import structlog
from flask import Blueprint, Request, Response, request

from models.settings import Settings
from webhook.classify import Classified, classify
from webhook.inbox import DatabaseAwayError, Inbox
from webhook.ringer import Ringer
from webhook.signature import UnverifiedError, Verified, verify

PATH = "/webhooks/recall"

logger = structlog.stdlib.get_logger(__name__)


class Receiver:
    """Takes webhooks: a 2xx means committed, and a stranger touches no database."""

    def __init__(
        self,
        settings: Settings,
        inbox: Inbox,
        ringer: Ringer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._inbox = inbox
        self._ringer = ringer
        self._clock = clock

    def receive(self, request: Request) -> Response:
        """Answer one POST."""
        if request.method != "POST":
            return _answer(405, {"error": "method_not_allowed"}, {"Allow": "POST"})
        body = _read(request, self._settings.webhook_max_bytes)
        if body is None:
            return _answer(413, {"error": "too_large"})
        # Not 401: these may well be Recall's, and its sender will bring them again.
        if not self._settings.recall_webhook_secrets:
            return _answer(503, {"error": "no_secret_is_set"}, {"Retry-After": "300"})
        now = self._clock()
        try:
            verified = verify(
                request.headers,
                body,
                self._settings.recall_webhook_secrets,
                now,
                self._settings.webhook_tolerance_seconds,
            )
        except UnverifiedError as error:
            return _answer(401, {"error": "unverified", "reason": str(error.reason)})
        classified = classify(body, datetime.fromtimestamp(now, UTC))
        try:
            return self._store(verified, classified, body)
        except DatabaseAwayError as error:
            retry_after = {"Retry-After": str(error.retry_after)}
            return _answer(503, {"error": "database_away"}, retry_after)

    def _store(self, verified: Verified, classified: Classified, body: bytes) -> Response:
        row = {
            "id": verified.message_id,
            "body": body,
            "scheme": verified.scheme,
            "secret_fingerprint": verified.secret_fingerprint,
            **asdict(classified),
        }
        stored = self._inbox.store(row)
        log = logger.bind(delivery_id=verified.message_id, bot_id=classified.bot_id)
        if stored.copies > 1:
            # The first body was committed and perhaps applied; a second one cannot replace it.
            if not stored.is_same_body:
                log.warning("a copy says something else, the first one stands")
            return _answer(200, {"outcome": "duplicate", "delivery": verified.message_id})
        if classified.outcome == "accepted":
            self._ringer.wake()
            log.debug("accepted", code=classified.code)
            return _answer(202, {"outcome": "accepted", "delivery": verified.message_id})
        say = log.debug if classified.outcome == "ignored" else log.warning
        say(classified.outcome, reason=classified.reason, webhook_event=classified.event)
        return _answer(200, {"outcome": classified.outcome, "delivery": verified.message_id})


def blueprint(receiver: Receiver) -> Blueprint:
    """Return the one route, with and without a slash: a redirect would be a failed delivery."""
    routes = Blueprint("receiver", __name__)

    @routes.route(
        PATH,
        methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        strict_slashes=False,
        provide_automatic_options=False,
    )
    def receive() -> Response:
        return receiver.receive(request)

    return routes


def _read(request: Request, limit: int) -> bytes | None:
    if (request.content_length or 0) > limit:
        return None
    # One byte more than allowed: a chunked body has no length to look at first.
    body: bytes = request.stream.read(limit + 1)
    return body if len(body) <= limit else None


def _answer(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status, headers, mimetype="application/json")
