"""Tells others of a recording or a transcript that is ready, in the transaction that stores it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from models.settings.events import EventType
from workers.linking.recording_state import RecordingState
from workers.outbox.links import links_of
from workers.outbox.write import NewEvent, Subject, write_events

READY = "done"
_SHOWN = (
    *("status", "started_at", "completed_at", "expires_at"),
    *("transcript_id", "transcript_status", "video_id", "audio_id", "participant_events_id"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """What a write makes of one recording."""

    recording_id: str
    bot_id: str
    before: RecordingState
    after: RecordingState

    @property
    def became_ready(self) -> Iterator[EventType]:
        """Name the events that it makes: the first word that something is ready counts."""
        if self.after.status == READY != self.before.status:
            yield "recording.ready"
        if self.after.transcript_status == READY != self.before.transcript_status:
            yield "transcript.ready"


def tell_ready(connection: Connection, changes: Iterable[Change]) -> None:
    """Write an event for each recording and transcript that became ready.

    Call it when everything else is written: the event shows the links as they are then, and an
    erased person's rows must be emptied before.
    """
    ready = [(kind, change) for change in changes for kind in change.became_ready]
    if not ready:
        return
    links: dict[str, list[Mapping[str, Any]]] = {}
    for link in links_of(connection, {change.bot_id for _, change in ready}):
        links.setdefault(link["bot_id"], []).append(link)
    write_events(
        connection,
        [_event(kind, change, links.get(change.bot_id, [])) for kind, change in ready],
    )


def _event(kind: EventType, change: Change, links: Iterable[Mapping[str, Any]]) -> NewEvent:
    recording = {name: getattr(change.after, name) for name in _SHOWN}
    data = {
        "bot_id": change.bot_id,
        "recording": {"recording_id": change.recording_id, **recording},
        "links": [dict(link) for link in links],
    }
    return NewEvent(kind, Subject(change.bot_id), data)
