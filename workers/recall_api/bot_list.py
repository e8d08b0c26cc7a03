"""Pages of List Bots (https://docs.recall.ai/reference/bot_list)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from models.core.bot_status import Status
from models.core.sanitize import plain_uuid
from workers.rate_limits.buckets import Bucket, Limits
from workers.recall_api.client import Ask, Recall
from workers.recall_api.errors import Endpoint, RecallError
from workers.recall_api.paging import read_page
from workers.recall_api.schemas import listed, read_object
from workers.recall_api.statuses import read_statuses
from workers.recall_api.turns import Turns
from workers.shutdown import Stop

PATH = "bot/"


@dataclass(frozen=True, slots=True)
class ListedBot:
    """One bot of a list, with its usable statuses."""

    id: str
    statuses: tuple[Status, ...]


@dataclass(frozen=True, slots=True)
class BotPage:
    """One page: its bots, the total count, and the path of the next page."""

    bots: tuple[ListedBot, ...]
    unusable: int
    count: int | None
    next_path: str | None


class BotListClient:
    """List Bots over one connection; each page waits for its turn at most `patience` seconds."""

    def __init__(
        self,
        recall: Recall,
        limits: Limits,
        bucket: Bucket,
        *,
        patience: float,
        stop: Stop | None = None,
    ) -> None:
        self._recall = recall
        self._bucket = bucket
        self._turns = Turns(limits, patience=patience, stop=stop)

    def page(self, path: str) -> BotPage:
        """Read the page at this path, in its turn."""
        ask, header = Ask(Endpoint.BOTS, path), self._recall.key_header()
        raw = self._turns.call(Endpoint.BOTS, self._bucket, lambda: self._recall.call(ask, header))
        return read_bot_page(raw, self._recall.base_url, datetime.now(UTC))


def first_path(after: datetime | None, before: datetime | None) -> str:
    """Return the path of the first page of the bots that joined within these times."""
    given = {"join_at_after": after, "join_at_before": before}
    query = urlencode({name: time.isoformat() for name, time in given.items() if time})
    return f"{PATH}?{query}" if query else PATH


def page_of(path: str) -> int:
    """Return the page number of a path; 1 if there is none."""
    text = dict(parse_qsl(urlsplit(path).query)).get("page", "1")
    return int(text[:9]) if text.isascii() and text.isdigit() else 1


def at_page(path: str, page: int) -> str:
    """Return the same path for another page."""
    # Recall's other parameters are kept.
    others = [(k, v) for k, v in parse_qsl(urlsplit(path).query) if k != "page"]
    return f"{PATH}?{urlencode([*others, ('page', str(page))])}"


def read_bot_page(raw: bytes, base_url: str, now: datetime) -> BotPage:
    """Read a page; RecallError: unreadable for another shape, wrong_body for a foreign `next`."""
    # An object: a plain array would be only a part of this paged list.
    page = read_page(read_object(raw, Endpoint.BOTS), PATH, base_url, Endpoint.BOTS)
    found = [_read_bot(item, now) for item in page.items if isinstance(item, dict)]
    bots = tuple({bot.id: bot for bot in found if bot}.values())
    # Of two equal ids the last one counts; items that are not bots are counted.
    unusable = len(page.items) - sum(bot is not None for bot in found)
    return BotPage(bots, unusable, page.count, page.next_path)


def _read_bot(item: dict[str, Any], now: datetime) -> ListedBot | None:
    bot_id = plain_uuid(item.get("id"))
    if bot_id is None:
        return None
    try:
        changes = listed(item, "status_changes", Endpoint.BOTS)
    except RecallError:
        # A partial history: counted as unusable, and the list goes on.
        return None
    return ListedBot(bot_id, read_statuses(changes, now))
