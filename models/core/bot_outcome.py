"""What came of a bot: whether it recorded, from when until when, and why it left or never got in.

All of it follows from the whole history, so that neither order nor repeats of events matter.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from models.core.bot_status import Status

ENDS = frozenset({"call_ended", "done", "fatal"})
# A pause ends a recording as well, and may carry the time at which the next one began.
_PAUSE = "in_call_not_recording"
_RECORDING = "in_call_recording"
_STOPS = ENDS | {"recording_done"}
# Whatever else a bot was in says nothing of its outcome.
TELLING_CODES = _STOPS | {_PAUSE, _RECORDING}
# `fatal` says most, and `done` has a sub code of its own in the older generation alone.
_SUB_CODE_RANK = {"done": 0, "call_ended": 1, "fatal": 2}
# Nobody opened the door: no failure of the bot's, nor of this service's.
NOT_ADMITTED = frozenset(
    {
        "timeout_exceeded_waiting_room",
        "call_ended_by_platform_waiting_room_timeout",
        "bot_kicked_from_waiting_room",
    }
)

EndKind = Literal["recorded", "not_admitted", "not_recorded", "fatal"]
END_KINDS: tuple[EndKind, ...] = ("recorded", "not_admitted", "not_recorded", "fatal")


@dataclass(frozen=True, slots=True)
class MediaSpan:
    """From when until when one recording of a bot holds anything, as Recall says."""

    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BotOutcome:
    """What came of one bot; `recorded` is None until the end of its call is known."""

    recorded: bool | None = None
    recorded_from: datetime | None = None
    recorded_until: datetime | None = None
    ended_sub_code: str | None = None


def outcome_from_history(
    statuses: Iterable[Status], media: Collection[MediaSpan] = ()
) -> BotOutcome:
    """Return what came of a bot that was in these statuses and has these recordings."""
    history = list(statuses)
    starts = [status.occurred_at for status in history if status.code == _RECORDING]
    has_ended = any(status.code in ENDS for status in history)
    began, ended = _span(history, starts) if starts else _media_span(media)
    return BotOutcome(
        recorded=bool(starts or media) if has_ended else None,
        recorded_from=began,
        recorded_until=ended,
        ended_sub_code=_ended_sub_code(history),
    )


def end_kind(status: str, sub_code: str | None, *, recorded: bool | None) -> EndKind | None:
    """Return how a bot ended, in one word; None until that is known."""
    if recorded is None:
        return None
    if recorded:
        return "recorded"
    if status == "fatal":
        return "fatal"
    return "not_admitted" if sub_code in NOT_ADMITTED else "not_recorded"


def _span(history: Iterable[Status], starts: list[datetime]) -> tuple[datetime, datetime | None]:
    last = max(starts)
    ends = [status.occurred_at for status in history if _stops(status, last)]
    return min(starts), min(ends, default=None)


def _stops(status: Status, last_start: datetime) -> bool:
    if status.code == _PAUSE:
        return status.occurred_at > last_start
    return status.code in _STOPS and status.occurred_at >= last_start


def _media_span(media: Iterable[MediaSpan]) -> tuple[datetime | None, datetime | None]:
    # The webhook of the status itself was lost: what Recall keeps says when it was.
    starts = [one.started_at for one in media if one.started_at]
    ends = [one.completed_at for one in media if one.completed_at]
    return min(starts, default=None), max(ends, default=None)


def _ended_sub_code(history: Iterable[Status]) -> str | None:
    telling = [s for s in history if s.code in _SUB_CODE_RANK and s.sub_code]
    latest = max(telling, key=lambda s: (_SUB_CODE_RANK[s.code], s.occurred_at), default=None)
    return latest.sub_code if latest else None
