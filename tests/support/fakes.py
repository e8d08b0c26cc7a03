"""Small stand-ins for the seams: a wire that answers from a table, tokens in a dict, no limits."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from workers.linking.types import Claim
from workers.privacy.tombstones import UserErasedError
from workers.rate_limits.buckets import Bucket, Grant
from workers.recall_api.schemas import MeetingRef
from workers.recall_api.transport import Answer

START = datetime(2026, 11, 20, 10, tzinfo=UTC)
BOT = "5b1f0c52-3f55-4a1e-8f0e-1a2b3c4d5e01"
MEETINGS = tuple(f"a0e8d4c{n}-6b1d-4c5e-9f3a-7b6c5d4e3f0{n}" for n in range(4))
USERS = tuple(f"c1d2e3f{n}-1111-4222-8333-94445555666{n}" for n in range(4))

Reply = Answer | Exception


def answer(body: object = None, status: int = 200, **headers: str) -> Answer:
    """An answer of Recall's with a JSON body."""
    return Answer(status, httpx.Headers(headers), json.dumps(body).encode())


def meeting_item(number: int, external_id: object = None, minutes: int = 30) -> dict[str, Any]:
    """An item of `calendar_meetings`: the number picks the meeting and its user."""
    return {
        "id": MEETINGS[number],
        "start_time": START.isoformat(),
        "end_time": (START + timedelta(minutes=minutes)).isoformat(),
        "calendar_user": {
            "id": USERS[number],
            "external_id": f"crew-{number}" if external_id is None else external_id,
        },
    }


def bot_body(*items: dict[str, Any], bot_id: str = BOT) -> dict[str, Any]:
    """A bot with these calendar meetings."""
    return {"id": bot_id, "status_changes": [], "recordings": [], "calendar_meetings": list(items)}


def ref(number: int, minutes: int = 30) -> MeetingRef:
    """The reference that `meeting_item` of the same number is read as."""
    end = START + timedelta(minutes=minutes)
    return MeetingRef(MEETINGS[number], START, end, USERS[number], f"crew-{number}")


def a_claim(**fields: Any) -> Claim:
    """A claim of a bot nothing is known of yet."""
    given: dict[str, Any] = {
        "bot_id": BOT,
        "due_seq": 1,
        "lease_token": "lease",
        "claimed_at": START,
        "attempts": 0,
        "owed_seconds": 0.0,
        "is_fetched": False,
        "is_terminal": False,
        "is_sealed": False,
    }
    return Claim(**given | fields)


class FakeWire:
    """Answers each path from a queue of replies; the last one stands for all that follow."""

    def __init__(self, replies: Mapping[str, list[Reply] | Reply]) -> None:
        self._replies = {
            path: list(reply) if isinstance(reply, list) else [reply]
            for path, reply in replies.items()
        }
        self.sent: list[tuple[str, str, Mapping[str, str], object]] = []

    def call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        json: object = None,
        *,
        seconds: float,
    ) -> Answer:
        """Reply as the table says; an exception is raised."""
        path = url.partition("/api/v1/")[2]
        self.sent.append((method, path, headers, json))
        replies = self._replies[path]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    @property
    def paths(self) -> list[str]:
        """Every path that was called, in order."""
        return [path for _, path, _, _ in self.sent]


class FakeTokens:
    """Tokens in a dict."""

    def __init__(self, **cached: str) -> None:
        self.cached = {name.replace("_", "-"): token for name, token in cached.items()}
        self.erased: set[str] = set()

    def get(self, external_id: str) -> str | None:
        """Return the cached one."""
        if external_id in self.erased:
            raise UserErasedError
        return self.cached.get(external_id)

    def put(self, external_id: str, token: str | None) -> None:
        """Keep one."""
        if token is not None:
            self.cached[external_id] = token

    def drop(self, external_id: str, token: str) -> None:
        """Forget it if it is this one."""
        if self.cached.get(external_id) == token:
            del self.cached[external_id]


class OpenLimits:
    """Lets every call through but those of `held` buckets; notes what was taken and closed."""

    def __init__(self, held: str = "") -> None:
        self._held = held
        self.taken: list[str] = []
        self.closed: list[str] = []

    def take(self, bucket: Bucket, count: int = 1) -> Grant:
        """Let it pass, unless its bucket is held."""
        self.taken.append(_kind(bucket))
        return Grant(0, 9.0) if _kind(bucket) == self._held else Grant(count)

    def close(self, bucket: Bucket, seconds: float) -> None:
        """Note it."""
        self.closed.append(_kind(bucket))

    def give_back(self, bucket: Bucket, count: int) -> None:
        """Nothing is counted."""

    def heed(self, closed: Mapping[str, float]) -> None:
        """Nothing is closed."""

    def left(self, bucket: Bucket) -> None:
        """Nothing is counted."""


def _kind(bucket: Bucket) -> str:
    return bucket.name.partition(":")[0]
