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
GONE = frozenset({DELETED, MEDIA_EXPIRED})
_IDS = {
    TRANSCRIPT: "transcript_id",
    VIDEO: "video_id",
    AUDIO: "audio_id",
    PARTICIPANTS: "participant_events_id",
}
_RANK = {"processing": 0, "paused": 1, "failed": 3, "done": 4, DELETED: 5, MEDIA_EXPIRED: 5}
_UNKNOWN_RANK = 2

Times = Mapping[str, Mapping[str, Any]]
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
        """Return the state after one piece of news; an older one changes nothing."""
        if _key(news.at, news.code, news.artifact_id) <= self._key_of(news.kind):
            return self
        noted = {"at": news.at.isoformat(), "code": news.code, "id": news.artifact_id}
        times = {**self.status_times, news.kind: noted}
        return replace(self, status_times=times, **_columns(news))

    def with_times(self, body: RecordingBody) -> "RecordingState":
        """Return the state with the times of a body; what it leaves out stays."""
        return replace(
            self,
            started_at=body.started_at or self.started_at,
            completed_at=body.completed_at or self.completed_at,
            expires_at=body.expires_at or self.expires_at,
            source="bot",
        )

    def expired(self, at: datetime) -> "RecordingState":
        """Return the state after the media of the bot has expired."""
        state = self
        for kind in (RECORDING, *(kind for kind, name in _IDS.items() if getattr(self, name))):
            artifact_id = self.transcript_id if kind == TRANSCRIPT else None
            state = state.after(MediaNews("", kind, artifact_id, MEDIA_EXPIRED, at))
        return state

    def _key_of(self, kind: str) -> Key:
        noted = self.status_times.get(kind) or {}
        at = utc_time(noted.get("at")) or EARLIEST
        return _key(at, str(noted.get("code") or ""), noted.get("id"))


def fold(state: RecordingState, news: Iterable[MediaNews]) -> RecordingState:
    """Return the state after all of this news."""
    for one in news:
        state = state.after(one)
    return state


def _key(at: datetime, code: str, artifact_id: str | None) -> Key:
    # Equal times are common; what ends something comes after what began it.
    return at, _RANK.get(code, _UNKNOWN_RANK if code else -1), code, artifact_id or ""


def _columns(news: MediaNews) -> dict[str, Any]:
    if news.kind == RECORDING:
        return {"status": news.code}
    if news.kind not in _IDS:
        return {}
    if news.kind == TRANSCRIPT:
        return {"transcript_id": news.artifact_id, "transcript_status": news.code}
    # The id of what is gone leads nowhere; the transcript's stays beside its status.
    return {_IDS[news.kind]: None if news.code in GONE else news.artifact_id}
