"""The bot endpoints of the fake."""

from collections.abc import Callable, Iterator

from tests.lab.api.answers import json_answer, not_found
from tests.lab.api.pages import a_page
from tests.lab.api.render import bot_body
from tests.lab.api.visits import InvalidError, Visit
from tests.lab.http.wire import Response
from tests.lab.world.shapes import Bot
from tests.lab.world.world import World

STATUSES = frozenset(
    {
        *("ready", "joining_call", "in_waiting_room", "in_call_not_recording"),
        *("recording_permission_allowed", "recording_permission_denied", "in_call_recording"),
        *("recording_done", "call_ended", "done", "fatal", "media_expired"),
        *("analysis_done", "analysis_failed"),
    }
)
Wanted = Callable[[Bot], bool]


class BotApi:
    """Retrieve Bot and List Bots over one world; `page_size` bots a page."""

    def __init__(self, world: World, page_size: int) -> None:
        self._world = world
        self.page_size = page_size

    def retrieve(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/bot_retrieve."""
        bot = self._world.bots.get(visit.item)
        return not_found() if bot is None else json_answer(bot_body(bot))

    def listing(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/bot_list, newest bot first.

        Newest first means that pages shift while bots are made: the order is not documented.
        """
        wanted = list(_filters(visit))
        newest_first = reversed(self._world.bots.values())
        found = [bot for bot in newest_first if all(keep(bot) for keep in wanted)]
        return a_page(visit, found, self.page_size, bot_body)


def _filters(visit: Visit) -> Iterator[Wanted]:
    query = visit.request.query
    yield from _by_time(visit)
    if statuses := {value for name, value in query if name == "status"}:
        yield _by_status(statuses)
    if platforms := {value for name, value in query if name == "platform"}:
        yield lambda bot: (bot.meeting_url or {}).get("platform") in platforms
    if (link := visit.parameter("meeting_url")) is not None:
        yield lambda bot: bot.meeting_link == link
    if pairs := {(name[10:], v) for name, v in query if name.startswith("metadata__")}:
        yield lambda bot: pairs <= bot.metadata.items()


def _by_time(visit: Visit) -> Iterator[Wanted]:
    # The stored join time counts, also where the body no longer shows it; ad hoc bots have none.
    if (after := visit.time("join_at_after")) is not None:
        yield lambda bot: bot.join_at is not None and bot.join_at >= after
    if (before := visit.time("join_at_before")) is not None:
        yield lambda bot: bot.join_at is not None and bot.join_at <= before


def _by_status(statuses: set[str]) -> Wanted:
    if unknown := statuses - STATUSES:
        raise InvalidError("status", f"No such choice: {sorted(unknown)}.")
    return lambda bot: bot.status in statuses
