"""Guards the calendar routes for pages: origin, authentication and request rate."""

import json
import math
from collections.abc import Callable
from typing import Any

from flask import Request, Response, request

from models.settings.environment import Settings
from webhook.calendar.cors import Cors
from webhook.calendar.jwt_auth import Proof, RefusedError
from webhook.calendar.throttle import CallerLimit
from webhook.web.auth import SAFE_METHODS
from webhook.web.problems import problem
from workers.privacy.tombstones import UserErasedError
from workers.recall_api.errors import RecallError

MOST_BYTES = 16 * 1024
RETRY_SECONDS = 5

Answer = Callable[[str, dict[str, Any]], Response]


class RequestGuard:
    """Accepts JSON from pages; checks the origin, the user and the request rate."""

    def __init__(self, settings: Settings) -> None:
        self._cors = Cors(settings)
        self._proof = Proof(settings)
        self._limit = CallerLimit()

    def serve(self, asked: Request, answer: Answer) -> Response:
        """Answer a request with the verified user's id and the JSON; refusals are problems."""
        return self._cors.before(asked) or self._answered(asked, answer)

    def let_read(self, answer: Response) -> Response:
        """Add CORS headers to a response; for after_request."""
        # Other origins may not read the pages that people see.
        return answer if request.method in SAFE_METHODS else self._cors.after(request, answer)

    def _answered(self, asked: Request, answer: Answer) -> Response:
        try:
            body = _read(asked)
            external_id = self._proof.user(asked, body)
        except RefusedError as error:
            return _refused(error)
        # A page in a loop sends hundreds of requests, which must not slow others down.
        if wait := self._limit.wait(external_id):
            return later(429, "too many requests for this user", wait)
        try:
            return answer(external_id, body)
        except UserErasedError:
            return problem(403, "this user was erased; reconnecting a calendar ends that")
        except RecallError as error:
            return recall_problem(error)


def recall_problem(error: RecallError) -> Response:
    """Return a problem for a failed call to Recall, and whether to retry."""
    if error.waiting_helps:
        wait = RETRY_SECONDS if error.retry_after is None else error.retry_after
        return later(503, f"Recall does not answer right now ({error.fault})", wait)
    return problem(502, f"Recall refused the request ({error.reason})")


def later(status: int, detail: str, seconds: float) -> Response:
    """Return a problem with Retry-After."""
    response = problem(status, detail)
    response.headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return response


def _read(asked: Request) -> dict[str, Any]:
    # This also keeps out forms of other sites, which cannot send this type.
    if asked.mimetype != "application/json":
        raise RefusedError(415, "the body must be application/json")
    if (asked.content_length or 0) > MOST_BYTES:
        raise RefusedError(413, f"the body is longer than {MOST_BYTES} bytes")
    try:
        body = json.loads(asked.get_data().decode("utf-8"))
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is not valid JSON") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "the body is not a JSON object")
    return body


def _refused(error: RefusedError) -> Response:
    response = problem(error.status, error.reason)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="calendar"'
    return response
