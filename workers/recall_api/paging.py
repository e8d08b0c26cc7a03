"""Reads Recall's lists to their end: a partial list is an error, and no list is endless.

A list is an array, or pages of `{"count", "next", "results"}`. `next` is an absolute URL out of an
answer: it is followed only within the same list, so that the key goes nowhere else.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from models.core.sanitize import storable
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.schemas import read_json, unreadable

API = "/api/v1/"
# More than a workspace of millions of bots has; at 60 a minute they take half a day.
MOST_PAGES = 50_000
# Pages that shift while they are read repeat items; so many without a new item are a loop.
MOST_STALE = 10
# With fewer items, somebody may have deleted half of them.
LEAST_HELD = 10
_LONGEST_URL = 2000
_SHOWN = 100
_PORTS = {"http": 80, "https": 443}
_URL = re.compile(rf"[!-~]{{1,{_LONGEST_URL}}}\Z")


def is_too_short(listed: int, held: int) -> bool:
    """Whether a list is implausibly short: it has less than half of what is stored.

    A key of another workspace, a filter that Recall misreads, an outage: each lists next to
    nothing, and what is held must not end for it.
    """
    return held >= LEAST_HELD and 2 * listed < held


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its items, the total that Recall counts, and the path of the next page."""

    items: tuple[Any, ...]
    count: int | None = None
    next_path: str | None = None


@dataclass(slots=True)
class Trail:
    """The pages of one list that were read so far; stops lists that repeat or never end."""

    endpoint: Endpoint
    most: int = MOST_PAGES
    _seen: set[str] = field(default_factory=set)
    _stale: int = 0

    def enter(self, path: str) -> None:
        """Note that a page is about to be read; RecallError (wrong_body) if it must not be."""
        if path in self._seen:
            raise _astray(self.endpoint, "repeated_next: the next page is one that was read")
        if len(self._seen) >= self.most:
            raise _astray(self.endpoint, f"endless_list: more than {self.most} pages")
        if self._stale >= MOST_STALE:
            raise _astray(self.endpoint, f"endless_list: {self._stale} pages had nothing new")
        self._seen.add(path)

    def leave(self, fresh: int) -> None:
        """Note how many new items the page had."""
        self._stale = 0 if fresh else self._stale + 1


def read_page(value: object, path: str, base_url: str, endpoint: Endpoint) -> Page:
    """Read a page of the list at `path`; RecallError for another shape or a foreign `next`."""
    if isinstance(value, list):
        return Page(tuple(value))
    items = value.get("results") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(items, list):
        raise unreadable(endpoint, "no list of results")
    count = value.get("count")
    is_count = isinstance(count, int) and not isinstance(count, bool)
    next_path = _next_path(value.get("next"), path, base_url, endpoint)
    return Page(tuple(items), count if is_count else None, next_path)


def read_all(
    ask: Callable[[str], bytes], path: str, base_url: str, endpoint: Endpoint, most: int
) -> tuple[dict[str, Any], ...]:
    """Read page after page, and return the objects of all of them, each id once.

    RecallError if a page cannot be fetched, or if there are fewer objects than Recall counts.
    """
    trail, found, next_path = Trail(endpoint, most), _Found(), path
    while True:
        trail.enter(next_path)
        page = read_page(read_json(ask(next_path), endpoint), path, base_url, endpoint)
        trail.leave(found.take_in(page))
        if page.next_path is None:
            break
        next_path = page.next_path
    if found.are_too_few:
        raise unreadable(endpoint, f"a list of {found.least} came with {len(found.items)}")
    return tuple(item for item in found.items.values() if isinstance(item, dict))


@dataclass(slots=True)
class _Found:
    items: dict[str, Any] = field(default_factory=dict)
    least: int | None = None

    def take_in(self, page: Page) -> int:
        """Add a page's items; returns how many of them are new."""
        before = len(self.items)
        for item in page.items:
            self.items[self._key(item)] = item
        if page.count is not None:
            # The list may grow or shrink meanwhile; at least the smallest count must be there.
            self.least = page.count if self.least is None else min(page.count, self.least)
        return len(self.items) - before

    @property
    def are_too_few(self) -> bool:
        return self.least is not None and len(self.items) < self.least

    def _key(self, item: Any) -> str:
        # Pages may repeat items: of two equal ids the last one counts. Items without one all count.
        name = item.get("id") if isinstance(item, dict) else None
        return name if isinstance(name, str) else f" {len(self.items)}"


def _next_path(value: object, path: str, base_url: str, endpoint: Endpoint) -> str | None:
    if value is None or value == "":
        return None
    given, ours, folder = _url(value), urlsplit(base_url), path.partition("?")[0]
    # Scheme and port too: the key must not be sent in the clear, or to another service.
    if given is None or _origin(given) != _origin(ours):
        raise _astray(endpoint, f"foreign_next: the next page is said to be at {_shown(value)}")
    if given.path.removeprefix(ours.path).rstrip("/") != (API + folder).rstrip("/"):
        raise _astray(endpoint, f"foreign_next: the next page is said to be at {_shown(value)}")
    return f"{folder}?{given.query}"


def _url(value: object) -> SplitResult | None:
    if not isinstance(value, str) or not _URL.match(value):
        return None
    try:
        given = urlsplit(value)
        # Here, since an invalid port raises only when it is read.
        _origin(given)
    except ValueError:
        return None
    return None if "@" in given.netloc else given


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)


def _shown(value: object) -> str:
    # Without credentials and query, which may be secret.
    text = re.sub(r"//[^/?#]*@", "//…@", str(value)).partition("?")[0]
    return storable(text, _SHOWN)


def _astray(endpoint: Endpoint, detail: str) -> RecallError:
    return RecallError(Fault.WRONG_BODY, endpoint, status=200, detail=detail)
