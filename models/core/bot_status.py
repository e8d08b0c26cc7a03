"""Bot status codes and the order of statuses.

Codes are an open set (https://docs.recall.ai/docs/bot-status-change-events). An unknown code is
kept as text and ranks like `in_call_recording`.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

TERMINAL = frozenset({"done", "fatal"})
POST_TERMINAL = frozenset({"analysis_done", "analysis_failed", "media_expired"})
UNINFORMATIVE = frozenset({"ready"})
# An event dated in the year 9999 would block every later status.
MAX_FUTURE = timedelta(days=1)
# Recall does not promise equal times in webhooks and bodies: within a second they are one status.
SAME_WITHIN = timedelta(seconds=1)
LONGEST_WORD = 200
LONGEST_CODE = 64
_CODE = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{LONGEST_CODE}}}\Z")

# Two events often have the same timestamp, so the rank of the code breaks ties.
_LIFE = (
    "ready",
    "joining_call",
    "in_waiting_room",
    "participant_in_waiting_room",
    "in_call_not_recording",
    "recording_permission_allowed",
    "recording_permission_denied",
    "in_call_recording",
    "call_ended",
    "recording_done",
    "done",
    "fatal",
)
_RANK = {code: rank for rank, code in enumerate(_LIFE)}
_UNKNOWN_RANK = _RANK["in_call_recording"]

StatusKey = tuple[int, datetime, int, str]


@dataclass(frozen=True, slots=True)
class Status:
    """One status of one bot, as reported by one event."""

    code: str
    occurred_at: datetime
    sub_code: str | None = None
    message: str | None = None
    delivery_id: str | None = None

    def is_same(self, code: str, occurred_at: datetime) -> bool:
        """Whether this is the status with that code and about that time."""
        return code == self.code and abs(occurred_at - self.occurred_at) < SAME_WITHIN

    @property
    def key(self) -> StatusKey:
        """Sort key: terminal above others, post-terminal below, then by time, rank and code."""
        # media_expired arrives days after done and must not replace it as the bot's status.
        standing = 2 if self.code in TERMINAL else 0 if self.code in POST_TERMINAL else 1
        return standing, self.occurred_at, _RANK.get(self.code, _UNKNOWN_RANK), self.code


def is_code(value: object) -> bool:
    """Whether a value is a valid status code: 1 to 64 characters, no control characters."""
    return isinstance(value, str) and _CODE.match(value) is not None
