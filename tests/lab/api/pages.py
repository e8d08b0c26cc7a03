"""Lists in pages, as Recall's framework makes them: a count, absolute links, and the results."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from tests.lab.api.answers import json_answer
from tests.lab.api.visits import Visit
from tests.lab.http.wire import Response

T = TypeVar("T")


def a_page(visit: Visit, found: Sequence[T], size: int, body: Callable[[T], Any]) -> Response:
    """Answer the page that is asked for, with `size` items at most; 404 where there is none."""
    page, last = _page(visit), max(1, -(-len(found) // size))
    if not 1 <= page <= last:
        return json_answer({"detail": "Invalid page."}, 404)
    return json_answer(
        {
            "count": len(found),
            "next": _page_url(visit, page + 1) if page < last else None,
            "previous": _page_url(visit, page - 1) if page > 1 else None,
            "results": [body(one) for one in found[(page - 1) * size : page * size]],
        }
    )


def _page(visit: Visit) -> int:
    text = visit.parameter("page") or "1"
    return int(text[:9]) if text.isascii() and text.isdigit() else 0


def _page_url(visit: Visit, page: int) -> str:
    others = [(name, value) for name, value in visit.request.query if name != "page"]
    query = urlencode([*others, ("page", str(page))])
    return f"{visit.request.origin}{visit.request.path}?{query}"
