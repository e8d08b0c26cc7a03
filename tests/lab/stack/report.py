"""What came of a scenario, read from the database with nothing but SQL."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.table import Table
from sqlalchemy import Engine, text

from tests.lab.stack.scenario import Story

LINKS = text("SELECT * FROM bot_links WHERE bot_id = :bot ORDER BY linked_at, meeting_id")
BOT = text("SELECT status, link_state, recorded, ended_sub_code FROM bots WHERE id = :bot")
FIRST = text("SELECT min(received_at) FROM deliveries WHERE bot_id = :bot AND code IS NOT NULL")
# As people say it; another sub code stands for itself.
WHY_NOT = {"timeout_exceeded_waiting_room": "not let in", "meeting_not_found": "no meeting"}
CALLS = text("SELECT calls FROM link_attempts WHERE bot_id = :bot")


@dataclass(frozen=True, slots=True)
class Ending:
    """How one story ended, as the database tells it."""

    story: Story
    status: str
    link_state: str
    recorded: bool | None
    sub_code: str | None
    meetings: list[tuple[str, str, str]]
    seconds: float | None
    calls: int

    @property
    def is_as_expected(self) -> bool:
        """Whether what should be linked and recorded is, and nothing else."""
        expected = (self.story.link_state, self.story.links, self.story.recorded)
        return (self.link_state, len(self.meetings), self.recorded) == expected

    @property
    def recording(self) -> str:
        """Whether the bot recorded, or why not."""
        if self.recorded is None:
            return "-"
        return "yes" if self.recorded else WHY_NOT.get(self.sub_code or "", self.sub_code or "no")


def endings(engine: Engine, stories: Sequence[Story]) -> list[Ending]:
    """Read how each story ended; `seconds` run from its first webhook to its last link's row."""
    return [_ending(engine, story) for story in stories]


def _ending(engine: Engine, story: Story) -> Ending:
    of_bot = {"bot": story.bot.id}
    with engine.connect() as connection:
        bot = connection.execute(BOT, of_bot).one_or_none()
        links = connection.execute(LINKS, of_bot).all()
        first = connection.scalar(FIRST, of_bot)
        calls = connection.scalars(CALLS, of_bot).all()
    last = max((link.linked_at for link in links), default=None)
    return Ending(
        story,
        status=bot.status if bot else "-",
        link_state=bot.link_state if bot else "unknown",
        recorded=None if bot is None or bot.recorded is None else bool(bot.recorded),
        sub_code=bot.ended_sub_code if bot else None,
        meetings=[(li.external_id, li.meeting_title or "-", li.meeting_state) for li in links],
        seconds=(_moment(last) - _moment(first)).total_seconds() if last and first else None,
        calls=sum(len(json.loads(kept)) for kept in calls),
    )


def _moment(value: object) -> datetime:
    return datetime.fromisoformat(str(value))


def links_table(found: Sequence[Ending]) -> Table:
    """Return a line per link, and one for each bot that has none; 80 columns suffice."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("bot", no_wrap=True, width=8)
    table.add_column("story", min_width=16)
    table.add_column("link_state", no_wrap=True, width=11)
    table.add_column("recorded", no_wrap=True, overflow="ellipsis", width=10)
    table.add_column("linked to", no_wrap=True, overflow="ellipsis", width=17)
    table.add_column("after", justify="right", no_wrap=True, width=6)
    table.add_column("calls", justify="right", width=5)
    for ending in found:
        for line in _lines(ending):
            table.add_row(*line)
    return table


def _lines(ending: Ending) -> list[tuple[str, ...]]:
    after = "-" if ending.seconds is None else f"{ending.seconds:.2f} s"
    state = ending.link_state if ending.is_as_expected else f"[bold red]{ending.link_state} (!)"
    meetings = [
        f"{external_id}: {title if found == 'found' else found}"
        for external_id, title, found in ending.meetings
    ]
    first, *others = meetings or ["-"]
    head = (ending.story.bot.id[:8], ending.story.title, state, ending.recording)
    lines = [(*head, first, after, str(ending.calls))]
    return [*lines, *(("", "", "", "", other, "", "") for other in others)]
