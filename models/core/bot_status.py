"""Bot status codes, and which of two statuses is the later one.

Codes are an open set (https://docs.recall.ai/docs/bot-status-change-events): an unknown one is kept
as text and ranks in mid-life.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

TERMINAL = frozenset({"done", "fatal"})
POST_TERMINAL = frozenset({"analysis_done", "analysis_failed", "media_expired"})
UNINFORMATIVE = frozenset({"ready"})
# One event of the year 9999 would freeze a monotone status.
MAX_FUTURE = timedelta(days=1)
LONGEST_WORD = 200
LONGEST_CODE = 64
_CODE = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{LONGEST_CODE}}}\Z")

# Equal times are common (pairs come 126 ms apart, some carry one timestamp), so ties need a rank.
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
    """One status of one bot, as one event told it."""

    code: str
    occurred_at: datetime
    sub_code: str | None = None
    message: str | None = None
    delivery_id: str | None = None

    @property
    def key(self) -> StatusKey:
        """What orders statuses: terminal wins, post-terminal loses, then time, then rank."""
        # media_expired comes days after done: it must not be the status of a bot that is done.
        standing = 2 if self.code in TERMINAL else 0 if self.code in POST_TERMINAL else 1
        return standing, self.occurred_at, _RANK.get(self.code, _UNKNOWN_RANK), self.code


def is_code(value: object) -> bool:
    """Whether a value can be a status code: a text of 1 to 64 characters, none of them control."""
    return isinstance(value, str) and _CODE.match(value) is not None
