"""What came of a bot: whether it recorded, from when until when, and why it left or never got in.

All of it follows from the whole history, so that neither order nor repeats of events matter.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
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


def essential_statuses(statuses: Iterable[Status]) -> frozenset[Status]:
    """Return the few of these statuses, fifteen at most, that have the outcome of them all."""
    history = [
        Status(s.code, s.occurred_at, s.sub_code) for s in statuses if s.code in TELLING_CODES
    ]
    starts = sorted((s for s in history if s.code == _RECORDING), key=_moment)
    kept = {*starts[:1], *starts[-1:]}
    for code in _STOPS | {_PAUSE}:
        theirs = sorted((s for s in history if s.code == code), key=_moment)
        kept |= {*theirs[-1:], *_first_stop(theirs, starts)}
        if code in _SUB_CODE_RANK:
            kept |= set([s for s in theirs if s.sub_code][-1:])
    return frozenset(kept)


def join_histories(reported: Collection[Status], body: Iterable[Status]) -> list[Status]:
    """Return what webhooks reported, with what only the bot's body has."""
    return [*reported, *(_as_reported(status, reported) for status in body)]


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


def _first_stop(history: Iterable[Status], starts: list[Status]) -> list[Status]:
    return [s for s in history if starts and _stops(s, starts[-1].occurred_at)][:1]


def _as_reported(status: Status, reported: Iterable[Status]) -> Status:
    # At the webhook's time: a pause a moment after the start that ends it would look like the end.
    same = (one for one in reported if one.is_same(status.code, status.occurred_at))
    nearest = min(same, key=lambda one: abs(one.occurred_at - status.occurred_at), default=status)
    return replace(status, occurred_at=nearest.occurred_at)


def _moment(status: Status) -> tuple[datetime, str]:
    return status.occurred_at, status.sub_code or ""


def _media_span(media: Iterable[MediaSpan]) -> tuple[datetime | None, datetime | None]:
    # The webhook of the status itself was lost: what Recall keeps says when it was.
    starts = [one.started_at for one in media if one.started_at]
    ends = [one.completed_at for one in media if one.completed_at]
    return min(starts, default=None), max(ends, default=None)


def _ended_sub_code(history: Iterable[Status]) -> str | None:
    telling = [s for s in history if s.code in _SUB_CODE_RANK and s.sub_code]
    latest = max(telling, key=lambda s: (_SUB_CODE_RANK[s.code], *_moment(s)), default=None)
    return latest.sub_code if latest else None
