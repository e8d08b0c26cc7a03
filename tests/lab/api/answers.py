"""The answers and refusals Recall's API gives, ready to send."""

import json
from collections.abc import Mapping
from urllib.parse import quote

from tests.lab.http.wire import Response

FIREWALL_PAGE = (
    b"<HTML><BODY><H1>403</H1>The firewall let this request through to nobody.</BODY></HTML>"
)


def json_answer(body: object, status: int = 200) -> Response:
    """Return `body` as JSON."""
    return Response(status, json.dumps(body, separators=(",", ":")).encode())


def html(page: str, status: int = 200) -> Response:
    """Return a web page."""
    return Response(status, page.encode(), "text/html; charset=utf-8")


def plain(text: str, status: int = 200) -> Response:
    """Return plain text."""
    return Response(status, text.encode(), "text/plain; charset=utf-8")


def redirect(location: str, status: int = 302) -> Response:
    """Send the browser on; what a header cannot carry is percent-encoded."""
    safe = quote(location, safe="%/:=&?~#+!$,;'@()*[]")
    return Response(status, b"", "text/html; charset=utf-8", [("Location", safe)])


def no_content() -> Response:
    """Return 204 with no body at all."""
    return Response(204)


def invalid(errors: Mapping[str, str]) -> Response:
    """Return 400 with one list of texts per field, as Django REST framework words it."""
    return json_answer({name: [text] for name, text in errors.items()}, 400)


def not_found() -> Response:
    """Return 404 as Django REST framework words it."""
    return json_answer({"detail": "Not found."}, 404)


def unauthenticated(code: str, detail: str) -> Response:
    """Return 401 with `{code, detail}` (https://docs.recall.ai/reference/errors)."""
    return json_answer({"code": code, "detail": detail}, 401)


def firewall() -> Response:
    """Return 403 with HTML: the firewall's, never the API's (/reference/errors)."""
    return Response(403, FIREWALL_PAGE, "text/html")


def wrong_method(method: str, allowed: str) -> Response:
    """Return 405 with the methods that would do."""
    answer = json_answer({"detail": f'Method "{method}" not allowed.'}, 405)
    answer.headers.append(("Allow", allowed))
    return answer


def throttled(seconds: int) -> Response:
    """Return 429 with Retry-After in whole seconds (/reference/errors)."""
    answer = json_answer({"detail": f"Throttled: come back in {seconds} s."}, 429)
    answer.headers.append(("Retry-After", str(seconds)))
    return answer
