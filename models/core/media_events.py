"""Webhooks about a recording and what is made of it, read into values; pure, and never an error.

See https://docs.recall.ai/docs/recording-webhooks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.core.sanitize import plain_uuid

RECORDING, TRANSCRIPT = "recording", "transcript"
VIDEO, AUDIO, PARTICIPANTS = "video_mixed", "audio_mixed", "participant_events"
# Of the last one nothing is kept but that its recording exists.
KINDS = (RECORDING, TRANSCRIPT, VIDEO, AUDIO, PARTICIPANTS, "meeting_metadata")
DELETED, MEDIA_EXPIRED = "deleted", "media_expired"
# What real-time events of the same names are not: `transcript.data`, `participant_events.join`.
_CODES = frozenset({"processing", "paused", "done", "failed", DELETED})


@dataclass(frozen=True, slots=True)
class MediaNews:
    """One state of a recording, or of one thing made of it, as Recall reported it."""

    recording_id: str
    kind: str
    artifact_id: str | None
    code: str
    at: datetime


def media_kind(event: str | None) -> str | None:
    """Return the kind of media that an event is about; None for any other event."""
    kind = (event or "").partition(".")[0]
    return kind if kind in KINDS else None


def media_code(event: str, code: object) -> str | None:
    """Return the state that the name of a media event says; None if it is no state.

    A name that is new counts if the code in the body agrees with it.
    """
    said = event.partition(".")[2]
    return said if said and (said in _CODES or said == code) else None


def media_ids(data: Mapping[str, Any], kind: str) -> tuple[str, str | None] | None:
    """Return the ids of the recording and of the artifact in a webhook's `data`."""
    recording_id = _id(data, RECORDING)
    if recording_id is None:
        return None
    return recording_id, None if kind == RECORDING else _id(data, kind)


def read_media_ids(body: bytes, kind: str) -> tuple[str, str | None] | None:
    """Return the same from a stored body; None of one that was emptied."""
    try:
        data = json.loads(body)["data"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return media_ids(data, kind) if isinstance(data, dict) else None


def _id(data: Mapping[str, Any], kind: str) -> str | None:
    part = data.get(kind)
    return plain_uuid(part.get("id")) if isinstance(part, dict) else None
