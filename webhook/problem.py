"""Answers that are not what was asked for, each typed: application/problem+json (RFC 9457)."""

import json
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

logger = structlog.stdlib.get_logger(__name__)


def problem(status: int, detail: str, **members: Any) -> Response:
    """Return a problem document; `members` name what it is about, such as the parameter."""
    # No `type`: about:blank is its default, and says that the title is the status's own.
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return Response(json.dumps(body), status, mimetype="application/problem+json")


def init_app(app: Flask) -> None:
    """Answer every HTTP error, and a database that is away, with a problem document."""

    @app.errorhandler(DBAPIError)
    @app.errorhandler(PoolTimeoutError)
    def of_the_database(error: Exception) -> Response:
        logger.warning("a read failed", error=type(error).__name__, detail=str(error)[:300])
        response = problem(503, "the database does not answer")
        response.headers["Retry-After"] = "5"
        return response

    # Werkzeug's own pages are HTML, and a sender's or a script's errors should be one kind.
    @app.errorhandler(HTTPException)
    def of_http(error: HTTPException) -> Response:
        response = problem(error.code or 500, error.description or error.name)
        for name, value in error.get_headers():
            if name.lower() in ("allow", "retry-after", "www-authenticate"):
                response.headers[name] = value
        return response
