"""What the console does to one calendar user, over a bounded way to Recall."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import redis
from sqlalchemy import Engine

from models.settings.environment import Settings
from workers.calendar_tokens.gateway import RecallGateway
from workers.calendars.actions import CalendarUserActions
from workers.calendars.check import Check, CheckResult
from workers.recall_api.calendar_client import CalendarClient
from workers.recall_api.calendar_schemas import CalendarUser, ListedMeeting
from workers.recall_api.transport import LIST_BYTES

# Threads that also take webhooks: two people may wait for Recall at once, each call a short while.
PLACES = 2
CALL_SECONDS = 6.0
BACK, AHEAD = timedelta(days=7), timedelta(days=28)


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What came of one deed, in words, with what Recall told of the user."""

    words: str
    user: CalendarUser | None = None
    meetings: tuple[ListedMeeting, ...] = ()
    check: CheckResult | None = None


@dataclass(frozen=True, slots=True)
class _Hands:
    care: CalendarUserActions
    check: Check
    external_id: str
    platform: str


class _ListGateway(RecallGateway):
    # A workspace's list of users is longer than any one answer.
    most_bytes = LIST_BYTES


class CalendarActions:
    """Does one deed at a time for one person; each change is audited under their name."""

    def __init__(self, settings: Settings, writes: Engine, client: redis.Redis | None) -> None:
        self._settings = settings
        self._writes = writes
        self._redis = client
        self._lock = threading.Lock()
        self._door: RecallGateway | None = None

    @property
    def is_open(self) -> bool:
        """Whether this process may speak to Recall at all."""
        return self._settings.recall_api_key is not None

    def do(self, deed: str, external_id: str, platform: str, actor: str) -> ActionResult:
        """Do one of DEEDS; UnknownUserError, UserErasedError, or RecallError."""
        door = self._opened()
        with door.open() as visit:
            client: CalendarClient = visit.client
            care = CalendarUserActions(self._writes, door.vault, client, actor)
            hands = _Hands(care, Check(self._writes, client), external_id, platform)
            return DEEDS[deed](hands)

    def _opened(self) -> RecallGateway:
        # At the first deed: loading the trusted roots is not worth it for who never asks.
        with self._lock:
            if self._door is None:
                self._door = _ListGateway(
                    self._settings,
                    self._writes,
                    self._redis,
                    places=PLACES,
                    seconds=CALL_SECONDS,
                )
            return self._door


def _look(hands: _Hands) -> ActionResult:
    user, now = hands.care.user(hands.external_id), datetime.now(UTC)
    found = hands.care.meetings(hands.external_id, now - BACK, now + AHEAD)
    return ActionResult(
        f"Recall has {len(found)} meetings, from one week ago to four weeks ahead.", user, found
    )


def _refresh(hands: _Hands) -> ActionResult:
    found = hands.care.refresh(hands.external_id)
    return ActionResult(
        f"Recall has read the calendars again: {len(found)} meetings.", meetings=found
    )


def _check(hands: _Hands) -> ActionResult:
    result = hands.check.one(hands.external_id, hands.care)
    return ActionResult(_compared(result), check=result)


def _disconnect(hands: _Hands) -> ActionResult:
    left = hands.care.disconnect(hands.external_id, hands.platform)
    # What Recall cleared with it is known at once, and not only next night.
    result = hands.check.one(hands.external_id, hands.care)
    return ActionResult(
        f"{hands.platform} is disconnected. {_compared(result)}", left, check=result
    )


def _delete(hands: _Hands) -> ActionResult:
    done = hands.care.delete(hands.external_id)
    return ActionResult(f"Deleted from Recall; {done.links} links marked.")


def _compared(result: CheckResult) -> str:
    return (
        f"{result.links} links compared: {result.ended} ended, {result.reopened} reopened,"
        f" {result.annotated} annotated."
    )


DEEDS: Mapping[str, Callable[[_Hands], ActionResult]] = {
    "look": _look,
    "refresh": _refresh,
    "check": _check,
    "disconnect": _disconnect,
    "delete": _delete,
}
