"""The shelves of the fake workspace: who and what there is, and the tokens handed out."""

import functools
import random
import threading
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from tests.lab.api.tokens import TokenBook
from tests.lab.world.clock import Clock
from tests.lab.world.invites import make_id
from tests.lab.world.shapes import Bot, CalendarMeeting, CalendarUser, Grant, Preferences

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Shelves")


def locked(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Hold the workspace's lock for the length of a method, so any thread may call it."""

    @functools.wraps(method)
    def held(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            return method(self, *args, **kwargs)

    return held


class Shelves:
    """Calendar users, their meetings, the bots and the tokens of one workspace."""

    def __init__(self, *, clock: Clock = time.time, seed: int = 0) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.rng = random.Random(seed)
        self.users: dict[str, CalendarUser] = {}
        self.meetings: dict[str, CalendarMeeting] = {}
        self.bots: dict[str, Bot] = {}
        self.tokens = TokenBook(clock, self.rng)
        self.grants: dict[str, Grant] = {}
        self._by_external_id: dict[str, str] = {}

    def new_id(self) -> str:
        """Return a fresh UUID from the world's seed."""
        return make_id(self.rng)

    @locked
    def clear(self) -> None:
        """Forget every user, meeting and bot; issued tokens then speak for nobody."""
        for shelf in (self.users, self.meetings, self.bots, self.grants, self._by_external_id):
            shelf.clear()

    @locked
    def add_user(self, user: CalendarUser) -> CalendarUser:
        """Put a calendar user in; one with the same id is replaced."""
        self.users[user.id] = user
        if user.external_id is not None:
            self._by_external_id[user.external_id] = user.id
        return user

    @locked
    def add_meeting(self, meeting: CalendarMeeting) -> CalendarMeeting:
        """Put one user's copy of a meeting in; one with the same id is replaced."""
        self.meetings[meeting.id] = meeting
        return meeting

    @locked
    def add_bot(self, bot: Bot) -> Bot:
        """Put a bot in; one with the same id is replaced."""
        self.bots[bot.id] = bot
        return bot

    @locked
    def rename_user(self, user_id: str, external_id: str | None) -> None:
        """Give a calendar user another external_id, or none."""
        user = self.users[user_id]
        self._by_external_id = {k: v for k, v in self._by_external_id.items() if v != user_id}
        user.external_id = external_id
        self.add_user(user)

    def user_named(self, external_id: str) -> CalendarUser | None:
        """Return the calendar user of that external_id, spelt exactly so."""
        return self.users.get(self._by_external_id.get(external_id, ""))

    def user_of_token(self, token: str) -> CalendarUser | None:
        """Return whom a token speaks for; None when it is worthless or the user is gone."""
        return self.users.get(self.tokens.holder(token) or "")

    def meetings_of(self, user_id: str) -> list[CalendarMeeting]:
        """Return that user's copies, earliest start first."""
        mine = [meeting for meeting in self.meetings.values() if meeting.user_id == user_id]
        return sorted(mine, key=lambda meeting: (meeting.start_time, meeting.id))

    @locked
    def authenticate(self, external_id: str) -> str:
        """Return a new token; a user of that name is created where there is none.

        https://docs.recall.ai/reference/calendar_authenticate_create
        """
        user = self.user_named(external_id)
        if user is None:
            blank = CalendarUser(self.new_id(), external_id, preferences=Preferences(self.new_id()))
            user = self.add_user(blank)
        return self.tokens.issue(user.id)

    @locked
    def grant(self, grant: Grant) -> str:
        """Return a one-time OAuth code; it holds characters a careless forwarder would mangle."""
        code = f"4/0A+{self.rng.randbytes(12).hex()}=="
        self.grants[code] = grant
        return code

    def counts(self) -> dict[str, int]:
        """Return how many users, meetings, bots and tokens there are."""
        shelves = ("users", "meetings", "bots", "tokens")
        return {name: len(getattr(self, name)) for name in shelves}
