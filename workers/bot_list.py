"""Pages of List Bots (https://docs.recall.ai/reference/bot_list): read, and where the next one is.

`next` is an absolute URL out of an answer: it is followed only on the host that the key is for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from models.outside import plain_uuid, utc_time
from models.status import LONGEST_WORD, MOST_AHEAD, Status, is_code
from workers import fields
from workers.bodies import read_object, unreadable
from workers.errors import Endpoint, Fault, RecallError

PATH = "bot/"
_API = "/api/v1/"


@dataclass(frozen=True, slots=True)
class ListedBot:
    """One bot of a list, with the statuses that can be used."""

    id: str
    statuses: tuple[Status, ...]


@dataclass(frozen=True, slots=True)
class BotPage:
    """One page: its bots, how many there are in all, and the path of the next page."""

    bots: tuple[ListedBot, ...]
    unusable: int
    count: int | None
    next_path: str | None


def first_path(after: datetime | None, before: datetime | None) -> str:
    """Return the path of the first page of the bots that joined within these times."""
    given = {"join_at_after": after, "join_at_before": before}
    query = urlencode({name: time.isoformat() for name, time in given.items() if time})
    return f"{PATH}?{query}" if query else PATH


def page_of(path: str) -> int:
    """Return which page a path asks for; the first where it does not say."""
    text = dict(parse_qsl(urlsplit(path).query)).get("page", "1")
    return int(text[:9]) if text.isascii() and text.isdigit() else 1


def at_page(path: str, page: int) -> str:
    """Return the same path for another page."""
    # Whatever else Recall put into its own link is kept.
    others = [(k, v) for k, v in parse_qsl(urlsplit(path).query) if k != "page"]
    return f"{PATH}?{urlencode([*others, ('page', str(page))])}"


def read_bot_page(raw: bytes, base_url: str, now: datetime) -> BotPage:
    """Read a page; RecallError (unreadable) for no page, (wrong_body) for a foreign `next`."""
    body = read_object(raw, Endpoint.BOTS)
    items = body.get("results")
    if not isinstance(items, list):
        raise unreadable(Endpoint.BOTS, "no list of results")
    found = [_read_bot(item, now) for item in fields.objects(items)]
    bots = tuple({bot.id: bot for bot in found if bot}.values())
    count = body.get("count")
    return BotPage(
        # The last of two equal ids stands; each item that is no bot is told of.
        bots=bots,
        unusable=len(items) - sum(bot is not None for bot in found),
        count=count if isinstance(count, int) and not isinstance(count, bool) else None,
        next_path=_next_path(body.get("next"), base_url),
    )


def _next_path(value: object, base_url: str) -> str | None:
    if not value:
        return None
    given, ours = urlsplit(str(value)), urlsplit(base_url)
    path = given.path.removeprefix(ours.path)
    # Scheme and port as well: the key must not go out in the clear, nor to a neighbour.
    is_ours = (given.scheme, given.netloc) == (ours.scheme, ours.netloc)
    if not is_ours or path.rstrip("/") != _API + PATH.rstrip("/"):
        where = f"{given.scheme}://{given.hostname}{path[:60]}"
        detail = f"foreign_next: the next page is said to be at {where}"
        raise RecallError(Fault.WRONG_BODY, Endpoint.BOTS, status=200, detail=detail)
    return f"{PATH}?{given.query}"


def _read_bot(item: dict[str, Any], now: datetime) -> ListedBot | None:
    bot_id = plain_uuid(item.get("id"))
    if bot_id is None:
        return None
    statuses = _statuses(item.get("status_changes"), now + MOST_AHEAD)
    return ListedBot(bot_id, tuple(statuses))


def _statuses(value: object, latest: datetime) -> Iterator[Status]:
    for item in fields.objects(value):
        # The spec says texts, captures show nulls: what cannot be used is left out.
        code, at = item.get("code"), utc_time(item.get("created_at"))
        if isinstance(code, str) and is_code(code) and at is not None and at <= latest:
            sub_code = fields.text(item.get("sub_code")) or None
            yield Status(
                code,
                at,
                sub_code[:LONGEST_WORD] if sub_code else None,
                fields.text(item.get("message")) or None,
            )
