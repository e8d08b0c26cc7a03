"""Calendar V1 is made to be called by pages: the fake lets every origin read it, as Recall does."""

from tests.lab.http.wire import Request, Response

PREFIX = "/api/v1/calendar/"


def is_a_pages(request: Request) -> bool:
    """Whether a page asks one of the endpoints that are opened by a calendar token."""
    return request.path.startswith(PREFIX) and "origin" in request.headers


def preflight(request: Request) -> Response | None:
    """Answer a preflight; None for any other request."""
    wanted = request.headers.get("access-control-request-headers", "")
    if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
        return None
    headers = [
        ("Access-Control-Allow-Methods", "DELETE, GET, OPTIONS, PATCH, POST, PUT"),
        ("Access-Control-Allow-Headers", wanted),
    ]
    return Response(200, headers=headers)


def opened(response: Response) -> Response:
    """Let any origin read an answer."""
    response.headers.append(("Access-Control-Allow-Origin", "*"))
    return response
