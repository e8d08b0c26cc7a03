"""The lives a bot can have: status changes with the spacing real ones show."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.lab.world.shapes import StatusChange


@dataclass(frozen=True, slots=True)
class Step:
    """One transition; it follows the one before by `soonest` to `latest` seconds."""

    code: str
    soonest: float
    latest: float
    sub_code: str | None = None
    message: str | None = None
    can_tie: bool = False


_READY = Step("ready", 3600, 60000)
_JOINING = Step("joining_call", 0, 0)
_WAITING = Step("in_waiting_room", 4, 15)
_IN_CALL = Step("in_call_not_recording", 5, 30, can_tie=True)
_ALLOWED = Step("recording_permission_allowed", 0.05, 0.2, can_tie=True)
_RECORDING = Step("in_call_recording", 0.12, 0.43, can_tie=True)
_HOST_ENDED = Step("call_ended", 900, 3600, "call_ended_by_host", "The host closed the call.")
_KEPT = Step("recording_done", 0.9, 2.5)
_DONE = Step("done", 0.3, 0.6)
_RECORDED = (_WAITING, _IN_CALL, _RECORDING, _HOST_ENDED, _KEPT, _DONE)

# The first step of each is placed before the start, the second at it; `abrupt` has nothing else.
OUTCOMES: dict[str, tuple[Step, ...]] = {
    "done": (_READY, _JOINING, *_RECORDED),
    "permitted": (_READY, _JOINING, _WAITING, _IN_CALL, _ALLOWED, *_RECORDED[2:]),
    "paused": (
        *(_READY, _JOINING, _WAITING, _IN_CALL, _RECORDING),
        *(Step("in_call_not_recording", 60, 600), Step("in_call_recording", 30, 300)),
        *(_HOST_ENDED, _KEPT, _DONE),
    ),
    "breakout": (
        *(_READY, _JOINING, _IN_CALL, _RECORDING),
        *(Step("breakout_room_entered", 60, 300), Step("breakout_room_left", 300, 900)),
        *(_HOST_ENDED, _KEPT, _DONE),
    ),
    "denied": (
        *(_READY, _JOINING, _IN_CALL),
        Step(
            "recording_permission_denied",
            *(3, 40),
            "zoom_local_recording_request_denied_by_host",
            "Nobody let the bot record.",
        ),
        Step("call_ended", 30, 60, "timeout_exceeded_recording_permission_denied"),
        _DONE,
    ),
    "empty": (
        *(_READY, _JOINING, _IN_CALL),
        Step("call_ended", 600, 1200, "timeout_exceeded_noone_joined"),
        Step("done", 0.3, 0.6, "timeout_exceeded_noone_joined"),
    ),
    "lobby": (
        *(_READY, _JOINING, _WAITING),
        Step("call_ended", 600, 1200, "timeout_exceeded_waiting_room", "Nobody let the bot in."),
        _DONE,
    ),
    "kicked": (
        *(_READY, _JOINING, _WAITING),
        Step("call_ended", 5, 90, "bot_kicked_from_waiting_room", "Turned away at the door."),
        _DONE,
    ),
    "fatal": (
        *(_READY, _JOINING),
        Step("fatal", 5, 60, "meeting_not_found", "The link leads to no meeting."),
    ),
    "abrupt": (
        _READY,
        Step("fatal", 0, 0, "zoom_sdk_credentials_missing", "The bot could not be started."),
    ),
    "expired": (_READY, _JOINING, *_RECORDED, Step("media_expired", 604800, 604800)),
    "analysed": (_READY, _JOINING, *_RECORDED, Step("analysis_done", 20, 120)),
}


def timeline(
    outcome: str, start: datetime, rng: random.Random, *, ties: bool = True
) -> list[StatusChange]:
    """Return the status changes of a bot that joins at `start`, in order.

    With `ties` the steps around the waiting room share one timestamp to the microsecond, as in
    https://docs.recall.ai/docs/testing-webhooks-locally. LookupError for an unknown outcome.
    """
    ready, *steps = OUTCOMES[outcome]
    made = _ago(ready, start, rng)
    changes = [StatusChange(ready.code, made)]
    at = start
    for step in steps:
        if not (ties and step.can_tie and changes[-1].code != "joining_call"):
            at += timedelta(seconds=rng.uniform(step.soonest, step.latest))
        changes.append(StatusChange(step.code, at, step.sub_code, step.message))
    return changes


def _ago(step: Step, start: datetime, rng: random.Random) -> datetime:
    return start - timedelta(seconds=rng.uniform(step.soonest, step.latest))


def latest_start(outcome: str, now: datetime) -> datetime:
    """Return when a bot must have joined at the latest for all of its life to be over by `now`."""
    return now - timedelta(seconds=sum(step.latest for step in OUTCOMES[outcome][1:]) + 1)


def was_recorded(changes: list[StatusChange]) -> bool:
    """Return whether the bot ever recorded."""
    return any(change.code == "in_call_recording" for change in changes)
