"""Which pages may read our answers: those of CALENDAR_ALLOWED_ORIGINS, and our own."""

from flask import Request, Response

from models.settings.environment import Settings
from webhook.web.problems import problem

# Chromium keeps none for longer.
PREFLIGHT_SECONDS = 7200
METHODS = "POST, OPTIONS"
HEADERS = "Authorization, Content-Type"


class Cors:
    """Answers preflights, turns foreign pages away, and names the origin that may read."""

    def __init__(self, settings: Settings) -> None:
        ours = {settings.public_url} if settings.public_url else set()
        self._allowed = frozenset(settings.calendar_allowed_origins) | ours

    def before(self, request: Request) -> Response | None:
        """Answer a preflight or a foreign page; None lets the request through.

        A request without Origin comes from no page: a server or a script, which CORS is no guard
        against and no hindrance for.
        """
        origin = request.headers.get("origin")
        if origin is not None and origin not in self._allowed:
            return problem(403, "this origin is not among CALENDAR_ALLOWED_ORIGINS")
        if request.method != "OPTIONS":
            return None
        answer = Response(status=204)
        answer.headers["Allow"] = METHODS
        answer.headers["Access-Control-Allow-Methods"] = METHODS
        answer.headers["Access-Control-Allow-Headers"] = HEADERS
        answer.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        return answer

    def after(self, request: Request, answer: Response) -> Response:
        """Let an allowed page read the answer, and caches know that it is for this page."""
        origin = request.headers.get("origin")
        # Never *: whoever may read is named, errors included, so that a page can tell why.
        if origin in self._allowed and origin is not None:
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Expose-Headers"] = "Retry-After"
        answer.headers.add("Vary", "Origin")
        return answer
