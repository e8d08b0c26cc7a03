"""The state of a recording after Recall's news of it, in any order; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from models.core.media_events import (
    AUDIO,
    DELETED,
    MEDIA_EXPIRED,
    PARTICIPANTS,
    RECORDING,
    TRANSCRIPT,
    VIDEO,
    MediaNews,
)
from models.core.sanitize import EARLIEST, utc_time
from workers.recall_api.recording_schemas import RecordingBody

# Until Recall says: an artifact's webhook may come before its recording's.
UNKNOWN = "processing"
READY, FAILED = "done", "failed"
GONE = frozenset({DELETED, MEDIA_EXPIRED})
# In `status_times`, beside the state of each kind: what holds for good, whatever comes later.
_WAS_DONE = "recording.done"
_IDS = {
    TRANSCRIPT: "transcript_id",
    VIDEO: "video_id",
    AUDIO: "audio_id",
    PARTICIPANTS: "participant_events_id",
}
_RANK = {"processing": 0, "paused": 1, FAILED: 3, READY: 4, DELETED: 5, MEDIA_EXPIRED: 5}
_UNKNOWN_RANK = 2

Times = Mapping[str, Mapping[str, Any]]
Noted = Mapping[str, Any]
Key = tuple[datetime, int, str, str]


@dataclass(frozen=True, slots=True)
class RecordingState:
    """One row of `recordings`, as far as news changes it."""

    status: str = UNKNOWN
    started_at: datetime | None = None
    completed_at: datetime | None = None
    expires_at: datetime | None = None
    transcript_id: str | None = None
    transcript_status: str | None = None
    video_id: str | None = None
    audio_id: str | None = None
    participant_events_id: str | None = None
    source: str = "webhook"
    status_times: Times = field(default_factory=dict)

    def after(self, news: MediaNews) -> "RecordingState":
        """Return the state after one piece of news; an older one changes no state."""
        is_proof = (news.kind, news.code) == (RECORDING, READY)
        state = _with_note(self, _WAS_DONE) if is_proof else self
        noted = {"at": news.at.isoformat(), "code": news.code, "id": news.artifact_id}
        known = _artifacts(state, news.kind)
        if _key(noted) <= _key(known.get(news.artifact_id or "", {})):
            return state
        known[news.artifact_id or ""] = noted
        shown = max(known.values(), key=_standing)
        times = {**state.status_times, news.kind: shown}
        if others := {key: one for key, one in known.items() if one is not shown}:
            times[f"{news.kind}.others"] = others
        return replace(state, status_times=times, **_columns(news.kind, shown))

    def with_times(self, body: RecordingBody) -> "RecordingState":
        """Return the state with the times of a body; what it leaves out stays."""
        codes = {one.code for one in body.news if one.kind == RECORDING}
        # That its media was deleted says that there was some.
        was_made = body.started_at is not None and codes & GONE
        return replace(
            _with_note(self, _WAS_DONE) if was_made else self,
            started_at=body.started_at or self.started_at,
            completed_at=body.completed_at or self.completed_at,
            expires_at=body.expires_at or self.expires_at,
            source="bot",
        )

    def expired(self, at: datetime) -> "RecordingState":
        """Return the state after the media of the bot has expired."""
        state = self
        for kind in (RECORDING, *_IDS):
            for key in _artifacts(self, kind) or ([""] if kind == RECORDING else []):
                state = state.after(MediaNews("", kind, key or None, MEDIA_EXPIRED, at))
        return state

    def noted(self) -> "RecordingState":
        """Return the state with what is ready now noted for good: it is reported once."""
        state = self
        if self.status == READY:
            state = _with_note(_with_note(state, _WAS_DONE), f"{RECORDING}.ready")
        if self.transcript_status == READY:
            state = _with_note(state, f"{TRANSCRIPT}.ready", self.transcript_id or "")
        return state

    def ready_ids(self, kind: str) -> frozenset[str]:
        """Return the ids of this kind that were ever noted as ready."""
        return frozenset(self.status_times.get(f"{kind}.ready", ()))


def _with_note(state: RecordingState, name: str, key: str = "") -> RecordingState:
    noted = {**state.status_times.get(name, {}), key: True}
    return replace(state, status_times={**state.status_times, name: noted})


def _artifacts(state: RecordingState, kind: str) -> dict[str, Noted]:
    others = state.status_times.get(f"{kind}.others", {})
    shown = state.status_times.get(kind)
    return {**others, str(shown.get("id") or ""): shown} if shown else {**others}


def was_done(status: str, times: Times | None) -> bool:
    """Whether a recording was ever there, whatever became of it."""
    return status == READY or _WAS_DONE in (times or {})


def fold(state: RecordingState, news: Iterable[MediaNews]) -> RecordingState:
    """Return the state after all of this news."""
    for one in news:
        state = state.after(one)
    return state


def _key(noted: Noted) -> Key:
    at, code = utc_time(noted.get("at")) or EARLIEST, str(noted.get("code") or "")
    # Equal times are common; what ends something comes after what began it.
    rank = _RANK.get(code, _UNKNOWN_RANK if code else -1)
    return at, rank, code, str(noted.get("id") or "")


def _standing(noted: Noted) -> tuple[bool, Key]:
    # The end of an old transcript must not hide the new one, whichever comes first.
    return noted["code"] not in GONE | {FAILED}, _key(noted)


def _columns(kind: str, shown: Noted) -> dict[str, Any]:
    if kind == RECORDING:
        return {"status": shown["code"]}
    if kind not in _IDS:
        return {}
    if kind == TRANSCRIPT:
        return {"transcript_id": shown["id"], "transcript_status": shown["code"]}
    # The id of what is gone leads nowhere; the transcript's stays beside its status.
    return {_IDS[kind]: None if shown["code"] in GONE else shown["id"]}
