"""POST /webhooks/recall: verify, classify, commit, answer, in this order."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import structlog
from flask import Blueprint, Request, Response, request

from models.core.sanitize import storable
from models.settings.environment import Settings
from models.tables.base import longest
from models.tables.rejection import Rejection
from webhook.receiver.events import Classified, classify
from webhook.receiver.insert import Stored
from webhook.receiver.rejections import RejectedRequest, RejectionWriter
from webhook.receiver.signature import HEADERS, SCHEMES, Reason, UnverifiedError, Verified, verify
from webhook.receiver.storage import Inbox, NotStoredError, UnstorableError
from webhook.receiver.wakeup import WakeupNotifier

PATH = "/webhooks/recall"
LONGEST_MESSAGE_ID = longest(Rejection.message_id)
LONGEST_HEADER = 4096
LONGEST_ADDRESS = 64
_CLASSIFIED = tuple(field.name for field in fields(Classified))

logger = structlog.stdlib.get_logger(__name__)
_standard_logger = logging.getLogger(__name__)


class Receiver:
    """Receives webhooks. A 2xx means committed; unverified requests never reach the database."""

    def __init__(
        self,
        settings: Settings,
        inbox: Inbox,
        wakeup: WakeupNotifier,
        rejections: RejectionWriter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._inbox = inbox
        self._wakeup = wakeup
        self._rejections = rejections
        self._clock = clock
        if not settings.recall_webhook_secrets:
            logger.warning("RECALL_WEBHOOK_SECRETS is not set: every webhook is answered 503")

    def receive(self, request: Request) -> Response:
        """Answer one POST."""
        if request.method != "POST":
            return _answer(405, {"error": "method_not_allowed"}, {"Allow": "POST"})
        body = _read(request, self._settings.webhook_max_bytes)
        if body is None:
            return _answer(413, {"error": "too_large"})
        # Not 401: these may be Recall's, and its sender retries after a 503.
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
            self._rejections.reject(_rejected(request, body, error.reason))
            return _answer(401, {"error": "unverified", "reason": str(error.reason)})
        # Verified from here on: whatever it says is kept and gets a 2xx.
        classified = classify(body, datetime.fromtimestamp(now, UTC))
        try:
            classified, stored = commit(self._inbox, verified, classified, body)
        except NotStoredError as error:
            return _answer(503, {"error": error.word}, {"Retry-After": str(error.retry_after)})
        return self._answer_stored(verified, classified, stored)

    def _answer_stored(
        self, verified: Verified, classified: Classified, stored: Stored
    ) -> Response:
        outcome = "duplicate" if stored.copies > 1 else classified.outcome
        self._rejections.count("delivery", outcome)
        ids = {"delivery_id": verified.message_id, "bot_id": classified.bot_id}
        if stored.copies > 1:
            # The first body is committed and perhaps applied; a second one cannot replace it.
            if not stored.is_same_body:
                logger.warning("a copy has a different body, the first one is kept", **ids)
        elif classified.outcome == "malformed":
            event = classified.event
            logger.warning("malformed", reason=classified.reason, webhook_event=event, **ids)
        elif _standard_logger.isEnabledFor(logging.DEBUG):
            # Checked first, because even a dropped log line costs as much as the verification.
            logger.debug(outcome, code=classified.code, webhook_event=classified.event, **ids)
        if outcome == "accepted":
            self._wakeup.wake()
        status = 202 if outcome == "accepted" else 200
        return _answer(status, {"outcome": outcome, "delivery": verified.message_id})


def commit(
    inbox: Inbox, verified: Verified, classified: Classified, body: bytes
) -> tuple[Classified, Stored]:
    """Store a delivery and return it as stored; NotStoredError if the sender should retry."""
    try:
        return classified, inbox.store(delivery_row(verified, classified, body))
    except UnstorableError:
        # A retry would never succeed, so only the bytes are kept, without their fields.
        bare = Classified("malformed", "not_storable")
        return bare, inbox.store(delivery_row(verified, bare, body))


def delivery_row(verified: Verified, classified: Classified, body: bytes) -> dict[str, Any]:
    """Return the row that the inbox stores for a delivery."""
    return {
        "id": verified.message_id,
        "body": body,
        "scheme": verified.scheme,
        "secret_fingerprint": verified.secret_fingerprint,
        # asdict would deep-copy each value, which costs a tenth of the whole request.
        **{name: getattr(classified, name) for name in _CLASSIFIED},
    }


def _rejected(request: Request, body: bytes, reason: Reason) -> RejectedRequest:
    names = [f"{scheme}-{name}" for scheme in SCHEMES for name in HEADERS]
    headers = {name: request.headers[name] for name in names if name in request.headers}
    message_id = next((headers[name] for name in headers if name.endswith("-id")), None)
    return RejectedRequest(
        str(reason),
        # Behind no router this is whatever the sender claims.
        storable(request.remote_addr, LONGEST_ADDRESS) if request.remote_addr else None,
        storable(message_id, LONGEST_MESSAGE_ID) if message_id else None,
        {name: storable(value, LONGEST_HEADER) for name, value in headers.items()},
        body,
    )


def blueprint(receiver: Receiver) -> Blueprint:
    """Return the one route, with and without a trailing slash: a redirect would fail a delivery."""
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
    # One byte more than allowed detects a body that is too long, whatever length it claimed.
    body: bytes = request.stream.read(limit + 1)
    return body if len(body) <= limit else None


def _answer(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status, headers, content_type="application/json")
