"""Answers that are not what was asked for, each typed: application/problem+json (RFC 9457)."""

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
    """Return a problem document; `members` name what it is about, such as the parameter."""
    # No `type`: about:blank is its default, and says that the title is the status's own.
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return Response(json.dumps(body), status, mimetype="application/problem+json")


def init_app(app: Flask) -> None:
    """Answer every HTTP error, and a database that is away, with a problem document."""

    @app.errorhandler(Exception)
    def of_any(error: Exception) -> Response:
        return of_http(error) if isinstance(error, HTTPException) else of_failure(error)

    # By itself as well: Flask would not give a bug's own exception to its own 500's handler.
    app.register_error_handler(HTTPException, of_http)


# Werkzeug's own pages are HTML, and a sender's or a script's errors should be one kind.
def of_http(error: HTTPException) -> Response:
    """Answer an HTTP error."""
    response = problem(error.code or 500, error.description or error.name)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after", "www-authenticate"):
            response.headers[name] = value
    return response


def of_failure(error: Exception) -> Response:
    """Answer what nobody foresaw: 503 while the database is away, else 500 with an id."""
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
    """What an unforeseen error is called: a bug has an id, by which the log tells of it."""

    is_away: bool
    id: str


def note(error: Exception) -> Failure:
    """Log an unforeseen error; Sentry has from there what is an error."""
    failure = Failure(is_unavailable(error), secrets.token_hex(8))
    if failure.is_away:
        logger.warning("the database is away", reason=reason(error))
    else:
        # The caller's id for it, so that whoever is told of it finds the line.
        told = {"id": failure.id, "reason": reason(error), "path": request.path}
        logger.exception("a request failed", **told)  # noqa: LOG004 - Flask calls us in one
    return failure
