"""The console's actions on one calendar user, with bounded access to Recall."""

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

# These threads also receive webhooks, so at most two people wait for Recall at once, and briefly.
PLACES = 2
CALL_SECONDS = 6.0
BACK, AHEAD = timedelta(days=7), timedelta(days=28)


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The result of one action in words, with what Recall returned about the user."""

    words: str
    user: CalendarUser | None = None
    meetings: tuple[ListedMeeting, ...] = ()
    check: CheckResult | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    actions: CalendarUserActions
    check: Check
    external_id: str
    platform: str


class _ListGateway(RecallGateway):
    # A workspace's list of users is longer than any other response.
    most_bytes = LIST_BYTES


class CalendarActions:
    """Runs one action for one person; each change is audited under their name."""

    def __init__(self, settings: Settings, writes: Engine, client: redis.Redis | None) -> None:
        self._settings = settings
        self._writes = writes
        self._redis = client
        self._lock = threading.Lock()
        self._gateway: RecallGateway | None = None

    @property
    def is_open(self) -> bool:
        """Whether this process has an API key for Recall."""
        return self._settings.recall_api_key is not None

    def do(self, action: str, external_id: str, platform: str, actor: str) -> ActionResult:
        """Run one of ACTIONS; UnknownUserError, UserErasedError or RecallError."""
        gateway = self._opened()
        with gateway.open() as recall:
            client: CalendarClient = recall.client
            actions = CalendarUserActions(self._writes, gateway.vault, client, actor)
            target = _Target(actions, Check(self._writes, client), external_id, platform)
            return ACTIONS[action](target)

    def _opened(self) -> RecallGateway:
        # Opened at the first action, because loading the trusted CA certificates takes time.
        with self._lock:
            if self._gateway is None:
                self._gateway = _ListGateway(
                    self._settings,
                    self._writes,
                    self._redis,
                    places=PLACES,
                    seconds=CALL_SECONDS,
                )
            return self._gateway


def _look(target: _Target) -> ActionResult:
    user, now = target.actions.user(target.external_id), datetime.now(UTC)
    found = target.actions.meetings(target.external_id, now - BACK, now + AHEAD)
    return ActionResult(
        f"Recall has {len(found)} meetings, from one week ago to four weeks ahead.", user, found
    )


def _refresh(target: _Target) -> ActionResult:
    found = target.actions.refresh(target.external_id)
    return ActionResult(
        f"Recall has read the calendars again: {len(found)} meetings.", meetings=found
    )


def _check(target: _Target) -> ActionResult:
    result = target.check.one(target.external_id, target.actions)
    return ActionResult(_compared(result), check=result)


def _disconnect(target: _Target) -> ActionResult:
    left = target.actions.disconnect(target.external_id, target.platform)
    # Check now, so that what Recall removed is known before the nightly check.
    result = target.check.one(target.external_id, target.actions)
    return ActionResult(
        f"{target.platform} is disconnected. {_compared(result)}", left, check=result
    )


def _delete(target: _Target) -> ActionResult:
    done = target.actions.delete(target.external_id)
    return ActionResult(f"Deleted from Recall; {done.links} links marked.")


def _compared(result: CheckResult) -> str:
    words = result.in_words()
    return f"{words[0].upper()}{words[1:]}."


ACTIONS: Mapping[str, Callable[[_Target], ActionResult]] = {
    "look": _look,
    "refresh": _refresh,
    "check": _check,
    "disconnect": _disconnect,
    "delete": _delete,
}
