"""Pages and redirects of the calendar routes, with their security headers."""

from typing import Any

from flask import Response, render_template

# Public pages: no scripts, no frames, no forms.
POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def page(template: str, status: int = 200, **values: Any) -> Response:
    """Render one of templates/calendar."""
    # Undefined names raise in templates, so optional values have defaults here.
    shown = {"target": None, **values}
    answer = Response(render_template(f"calendar/{template}", **shown), status)
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return guarded(answer)


def note(status: int, title: str, *words: str) -> Response:
    """Render a page with one message."""
    return page("note.html", status, title=title, words=words)


def guarded(answer: Response) -> Response:
    """Keep the URL of a response out of Referer headers."""
    # The URL may contain the secret of a link or a trip.
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


class Forward(Response):
    """A redirect that sends its URL unchanged."""

    def __init__(self, address: str) -> None:
        super().__init__(status=302)
        self._address = address
        guarded(self)

    def get_wsgi_headers(self, environ: Any) -> Any:
        """Return the headers; Werkzeug would re-quote the URL and change %2B in codes."""
        headers = super().get_wsgi_headers(environ)
        headers["Location"] = self._address
        return headers
