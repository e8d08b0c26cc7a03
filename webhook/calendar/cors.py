"""CORS: pages of CALENDAR_ALLOWED_ORIGINS and of PUBLIC_URL may read the responses."""

from flask import Request, Response

from models.settings.environment import Settings
from webhook.web.problems import problem

# The longest that Chromium caches a preflight.
PREFLIGHT_SECONDS = 7200
METHODS = "POST, OPTIONS"
HEADERS = "Authorization, Content-Type"


class Cors:
    """Answers preflights, refuses other origins and sets the CORS headers."""

    def __init__(self, settings: Settings) -> None:
        ours = {settings.public_url} if settings.public_url else set()
        self._allowed = frozenset(settings.calendar_allowed_origins) | ours

    def before(self, request: Request) -> Response | None:
        """Answer a preflight or refuse an origin; None lets the request through.

        A request without Origin comes from a server or a script, which CORS does not concern.
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
        """Let an allowed page read the response, and mark it for caches as the origin's own."""
        origin = request.headers.get("origin")
        # The exact origin, never *; on errors too, so that a page can read the reason.
        if origin in self._allowed and origin is not None:
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Expose-Headers"] = "Retry-After"
        answer.headers.add("Vary", "Origin")
        return answer
