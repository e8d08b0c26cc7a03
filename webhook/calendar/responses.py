"""What every page and redirect of the calendar companion carries along."""

from typing import Any

from flask import Response, render_template

# Pages that strangers reach by links: nothing runs, nothing is framed, nothing is sent on.
POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def page(template: str, status: int = 200, **values: Any) -> Response:
    """Render one of templates/calendar."""
    # Undefined names raise in this application's templates, so what may be missing is said here.
    shown = {"target": None, **values}
    answer = Response(render_template(f"calendar/{template}", **shown), status)
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return guarded(answer)


def note(status: int, title: str, *words: str) -> Response:
    """Render a page that says one thing."""
    return page("note.html", status, title=title, words=words)


def guarded(answer: Response) -> Response:
    """Keep an answer's address out of Referer headers."""
    # The address may hold a link or a trip; the next site has no use for it.
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


class Forward(Response):
    """A redirect whose address goes out exactly as it is written."""

    def __init__(self, address: str) -> None:
        super().__init__(status=302)
        self._address = address
        guarded(self)

    def get_wsgi_headers(self, environ: Any) -> Any:
        """Return the headers; Werkzeug would quote an address anew, and codes hold %2B."""
        headers = super().get_wsgi_headers(environ)
        headers["Location"] = self._address
        return headers
