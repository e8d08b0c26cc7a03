"""What else arrives at a workspace's endpoint: true bodies that are no status change."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from tests.lab.world.invites import artifact_id, make_id, recording_id
from tests.lab.world.shapes import StatusChange

Timed = tuple[datetime, dict[str, Any]]
MEDIA = ("transcript", "video_mixed", "participant_events", "meeting_metadata")


def noise_of(bot_id: str, changes: Sequence[StatusChange], generation: str) -> list[Timed]:
    """Return (time, body) of everything around these status changes that is no status change."""
    if not changes:
        return []
    rng = random.Random(f"noise {bot_id}")
    last = changes[-1].created_at
    timed = [(last, calendar_update(rng)), (last, calendar_sync(last, rng))]
    timed.append((last, sdk_upload_failed(last, rng)))
    if generation == "legacy":
        return [*timed, *_logs(bot_id, changes)]
    return [*timed, *_recording(bot_id, changes, rng)]


def artifact(
    kind: str, code: str, at: datetime, *, bot_id: str, recording_id: str
) -> dict[str, Any]:
    """Return a body like recording.done or transcript.done (/docs/recording-webhooks).

    It says `done` in `data.data.code` and names a bot: only `event` tells it from bot.done.
    """
    data: dict[str, Any] = {"data": _state(code, at)}
    if kind != "recording":
        data[kind] = {"id": artifact_id(recording_id, kind), "metadata": {}}
    data["recording"] = {"id": recording_id, "metadata": {}}
    data["bot"] = {"id": bot_id, "metadata": {}}
    if code == "failed":
        data["data"]["error"] = {"code": "LAB", "message": "The lab wanted it so."}
    return {"event": f"{kind}.{code}", "data": data}


def bot_log(bot_id: str, at: datetime) -> dict[str, Any]:
    """Return a legacy bot.log body."""
    log = {
        "created_at": at.isoformat(),
        "level": "info",
        "message": "The lab's bot says it is well.",
        "output_id": None,
    }
    return {"event": "bot.log", "data": {"bot_id": bot_id, "log": log}}


def participant_joined(bot_id: str, at: datetime, rng: random.Random) -> dict[str, Any]:
    """Return a real-time body, whose `data.data` has no code (/docs/real-time-event-payloads)."""
    person = {"id": 7, "name": "Odile", "is_host": False, "platform": "desktop", "extra_data": None}
    when = {"absolute": at.isoformat().replace("+00:00", "Z"), "relative": 3.5}
    owners = ("realtime_endpoint", "participant_events", "recording")
    data: dict[str, Any] = {"data": {"participant": person, "timestamp": when, "data": None}}
    data |= {name: {"id": make_id(rng), "metadata": {}} for name in owners}
    data["bot"] = {"id": bot_id, "metadata": {}}
    return {"event": "participant_events.join", "data": data}


def realtime_running(bot_id: str, at: datetime, rng: random.Random) -> dict[str, Any]:
    """Return a realtime_endpoint.running body; its sub_code is an empty text."""
    ids = {"bot_id": bot_id, "recording_id": recording_id(bot_id)}
    body = artifact("realtime_endpoint", "running", at, **ids)
    body["data"]["data"]["sub_code"] = ""
    return body


def calendar_update(rng: random.Random) -> dict[str, Any]:
    """Return a calendar.update body, which only Calendar V2 sends (/docs/calendar-v2-webhooks)."""
    return {"event": "calendar.update", "data": {"calendar_id": make_id(rng)}}


def calendar_sync(at: datetime, rng: random.Random) -> dict[str, Any]:
    """Return a calendar.sync_events body (/docs/calendar-v2-webhooks)."""
    data = {"calendar_id": make_id(rng), "last_updated_ts": at.isoformat()}
    return {"event": "calendar.sync_events", "data": data}


def sdk_upload_failed(at: datetime, rng: random.Random) -> dict[str, Any]:
    """Return an sdk_upload.failed body: no bot, and a null recording."""
    upload = {"id": make_id(rng), "metadata": {}}
    data = {"data": _state("failed", at), "recording": None, "sdk_upload": upload}
    return {"event": "sdk_upload.failed", "data": data}


def _logs(bot_id: str, changes: Sequence[StatusChange]) -> list[Timed]:
    return [(change.created_at, bot_log(bot_id, change.created_at)) for change in changes[1:3]]


def _recording(bot_id: str, changes: Sequence[StatusChange], rng: random.Random) -> list[Timed]:
    times = {change.code: change.created_at for change in changes}
    ids = {"bot_id": bot_id, "recording_id": recording_id(bot_id)}
    stages = {"in_call_recording": "processing", "recording_done": "done"}
    stages["media_expired"] = "deleted"
    timed = [
        (times[status], artifact("recording", code, times[status], **ids))
        for status, code in stages.items()
        if status in times
    ]
    if (began := times.get("in_call_recording")) is not None:
        timed.append((began, realtime_running(bot_id, began, rng)))
        timed.append((began, participant_joined(bot_id, began, rng)))
    if (ended := times.get("recording_done")) is not None:
        ready = [(kind, ended + timedelta(seconds=rng.uniform(0.05, 30))) for kind in MEDIA]
        timed += [(at, artifact(kind, "done", at, **ids)) for kind, at in ready]
    return timed


def _state(code: str, at: datetime) -> dict[str, Any]:
    return {"code": code, "sub_code": None, "updated_at": at.isoformat(timespec="microseconds")}
