"""The recordings of a bot's body (https://docs.recall.ai/reference/bot_retrieve)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from models.core.bot_status import MAX_FUTURE, is_code
from models.core.media_events import KINDS, RECORDING, MediaNews
from models.core.sanitize import plain_uuid, utc_time
from workers.recall_api import parsing

MOST_RECORDINGS = 100

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecordingBody:
    """One item of a bot's `recordings`: its times, and the states of it and of what it has."""

    id: str
    started_at: datetime | None
    completed_at: datetime | None
    expires_at: datetime | None
    news: tuple[MediaNews, ...]


def read_recordings(body: Body) -> Iterator[RecordingBody]:
    """Read the recordings of a bot's body; what is none is left out, and is no error."""
    value = body.get("recordings")
    # A list in part is read as far as it goes: a bot is linked whatever is made of it.
    items = value.get("results") if isinstance(value, dict) else value
    for item in parsing.objects(items)[:MOST_RECORDINGS]:
        if (recording_id := plain_uuid(item.get("id"))) is not None:
            yield RecordingBody(
                id=recording_id,
                started_at=utc_time(item.get("started_at")),
                completed_at=utc_time(item.get("completed_at")),
                expires_at=utc_time(item.get("expires_at")),
                news=tuple(_media_news(recording_id, item)),
            )


def _media_news(recording_id: str, item: Body) -> Iterator[MediaNews]:
    shortcuts = item.get("media_shortcuts")
    made = shortcuts if isinstance(shortcuts, dict) else {}
    for kind in KINDS:
        part = item if kind == RECORDING else made.get(kind)
        status = part.get("status") if isinstance(part, dict) else None
        if not isinstance(part, dict) or not isinstance(status, dict):
            continue
        code, at = status.get("code"), _changed_at(status, part)
        if isinstance(code, str) and is_code(code) and at is not None:
            # The urls beside the id open the media, and are not kept.
            artifact_id = None if kind == RECORDING else plain_uuid(part.get("id"))
            yield MediaNews(recording_id, kind, artifact_id, code, at)


def _changed_at(status: Body, part: Body) -> datetime | None:
    times = (status.get("updated_at"), part.get("completed_at"), part.get("created_at"))
    at = next((time for text in times if (time := utc_time(text))), None)
    # One of the year 9999 would freeze the state.
    return min(at, datetime.now(UTC) + MAX_FUTURE) if at else None
