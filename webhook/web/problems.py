"""Error responses as application/problem+json (RFC 9457)."""

import json
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from models.core.database_errors import is_too_slow, is_unavailable, reason
from models.core.database_remedies import TOO_SLOW

BUG = "internal error; look for this id in the log"
logger = structlog.stdlib.get_logger(__name__)


def problem(status: int, detail: str, **members: Any) -> Response:
    """Return a problem document; `members` add details, such as the parameter."""
    # No `type`: the default, about:blank, says that the title is the status phrase.
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return Response(json.dumps(body), status, mimetype="application/problem+json")


def init_app(app: Flask) -> None:
    """Answer HTTP errors and unexpected failures with problem documents."""

    @app.errorhandler(Exception)
    def of_any(error: Exception) -> Response:
        return of_http(error) if isinstance(error, HTTPException) else of_failure(error)

    # Both are registered: with this one alone, Flask would wrap a bug in its own 500.
    app.register_error_handler(HTTPException, of_http)


def of_http(error: HTTPException) -> Response:
    """Answer an HTTP error as a problem, because Werkzeug's own pages are HTML."""
    response = problem(error.code or 500, error.description or error.name)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after", "www-authenticate"):
            response.headers[name] = value
    return response


def of_failure(error: Exception) -> Response:
    """Answer an unexpected error: 503 while the database is unavailable, else 500 with an id."""
    if is_too_slow(error):
        logger.warning("a search took too long", path=request.path)
        return problem(503, TOO_SLOW, reason="too_slow")
    failure = note(error)
    if failure.is_away:
        response = problem(503, "the database does not answer")
        response.headers["Retry-After"] = "5"
        return response
    return problem(500, BUG, id=failure.id)


@dataclass(frozen=True, slots=True)
class Failure:
    """An unexpected error, and the id under which the log has it."""

    is_away: bool
    id: str


def note(error: Exception) -> Failure:
    """Log an unexpected error; Sentry gets what is logged as an error."""
    failure = Failure(is_unavailable(error), secrets.token_hex(8))
    if failure.is_away:
        logger.warning("the database is away", reason=reason(error))
    else:
        # The caller gets the same id, so that an operator can find this line.
        details = {"id": failure.id, "reason": reason(error), "path": request.path}
        logger.exception("a request failed", **details)  # noqa: LOG004 - Flask calls this in an except block
    return failure
