"""The search in the header: leads to the one hit, or lists the kinds of hits."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from models.core.sanitize import plain_uuid
from models.queries.quick_search import MOST, Hits, search
from webhook.console.rendering import Renderer
from webhook.services.reader import Reader

NOT_FOUND = (
    "Nothing matches. You can search by a bot's id or its first 8 characters or more, a message id,"
    " an external_id, an email address, a meeting's id, an iCal UID, or words of a title."
)
_WORDS = {
    ("bots", "bot_id"): "Bots with this id",
    ("deliveries", "bot_id"): "Webhooks of bots with this id",
    ("deliveries", "message_id"): "Webhooks with this message id",
    ("rejections", "message_id"): "Rejected requests with this message id",
    ("links", "meeting_id"): "Links of this meeting",
    ("calendar-users", "external_id"): "Calendar users with this external_id",
    ("links", "external_id"): "Links of this calendar user",
    ("calendar-users", "email"): "Calendar users with this address",
    ("links", "email"): "Links of meetings with this organizer or attendee",
    ("links", "ical_uid"): "Links of meetings with this iCal UID",
    ("links", "title"): "Links of meetings whose title has these words",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A kind of hits: in words, how many, and where they are."""

    words: str
    count: str
    address: str


class SearchPage:
    """Answers the one search field."""

    def __init__(self, reader: Reader, renderer: Renderer) -> None:
        self._reader = reader
        self._renderer = renderer

    def search(self) -> AnyResponse:
        """Redirect to the one hit, or list the kinds of hits."""
        text = request.args.get("q", "").strip()
        dialect = self._reader.dialect
        hits = self._reader.read(lambda c: [*search(c, text, dialect)]) if text else []
        if address := _only(hits, text):
            return redirect(address, 303)
        return self._page(text, [_found(one, text) for one in hits])

    def _page(self, text: str, found: Sequence[Found]) -> Response:
        is_address = any("email=" in one.address for one in found)
        people = f"/console/people?{urlencode({'email': text})}" if is_address else None
        status = 200 if found or not text else 404
        return self._renderer.page(
            "search.html", "", status, text=text, found=found, people=people, not_found=NOT_FOUND
        )


def _only(hits: Sequence[Hits], text: str) -> str | None:
    names = {one.name for one in hits}
    if len(names) != 1 or names == {"email"}:
        return None
    first = hits[0]
    if first.name == "external_id":
        return f"/console/calendar/user?{urlencode({'external_id': text})}"
    # A bot whose webhooks are not processed yet has a page that says that.
    bot_id = getattr(first.row, "bot_id", None) if first.name != "title" else None
    if first.name == "bot_id":
        bot_id = bot_id or plain_uuid(text)
    return f"/console/bots/{bot_id}" if bot_id else _address(first, text)


def _address(hits: Hits, text: str) -> str:
    return f"/console/{hits.kind.name}?{urlencode({hits.name: text})}"


def _found(hits: Hits, text: str) -> Found:
    words = _WORDS[hits.kind.name, hits.name]
    count = "?" if hits.count is None else f"{MOST} or more" if hits.count >= MOST else hits.count
    return Found(words, str(count), _address(hits, text))
