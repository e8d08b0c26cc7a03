"""Answers that are not what was asked for, each typed: application/problem+json (RFC 9457)."""

import json
from http import HTTPStatus
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException


def problem(status: int, detail: str, **members: Any) -> Response:
    """Return a problem document; `members` name what it is about, such as the parameter."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return Response(json.dumps(body), status, mimetype="application/problem+json")


def init_app(app: Flask) -> None:
    """Answer every HTTP error, and every bug of ours, with a problem document."""

    # Werkzeug's own pages are HTML, and a sender's or a script's errors should be one kind.
    @app.errorhandler(HTTPException)
    def of_http(error: HTTPException) -> Response:
        response = problem(error.code or 500, error.description or error.name)
        for name, value in error.get_headers():
            if name.lower() in ("allow", "retry-after", "www-authenticate"):
                response.headers[name] = value
        return response
