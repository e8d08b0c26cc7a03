"""Events about recordings, written in the transaction that stores what they report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from models.core.media_events import RECORDING, TRANSCRIPT
from models.settings.events import EventType
from workers.outbox.links import links_of
from workers.outbox.write import NewEvent, Subject, write_events
from workers.recordings.state import RecordingState

_READY: dict[str, EventType] = {RECORDING: "recording.ready", TRANSCRIPT: "transcript.ready"}
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
        """Name the events that it makes: one for each recording, and for each transcript of it."""
        for kind, event_type in _READY.items():
            if self.after.ready_ids(kind) - self.before.ready_ids(kind):
                yield event_type


@dataclass(frozen=True, slots=True)
class RecordingNews:
    """One event about one recording; `recording` has its columns as attributes."""

    type: EventType
    recording_id: str
    bot_id: str
    recording: Any


def report_ready(connection: Connection, changes: Iterable[Change]) -> None:
    """Write an event for each recording and transcript that became ready.

    Call it when everything else is written: the event shows the links as they are then, and an
    erased person's rows must be emptied before.
    """
    ready = [(kind, change) for change in changes for kind in change.became_ready]
    news = [RecordingNews(kind, one.recording_id, one.bot_id, one.after) for kind, one in ready]
    write_recording_events(connection, news)


def write_recording_events(connection: Connection, news: Sequence[RecordingNews]) -> None:
    """Write an event for each, with the recording and the bot's links as they are now."""
    if not news:
        return
    links: dict[str, list[Mapping[str, Any]]] = {}
    for link in links_of(connection, {one.bot_id for one in news}):
        links.setdefault(link["bot_id"], []).append(link)
    write_events(connection, [_event(one, links.get(one.bot_id, [])) for one in news])


def _event(news: RecordingNews, links: Iterable[Mapping[str, Any]]) -> NewEvent:
    recording = {name: getattr(news.recording, name) for name in _SHOWN}
    data = {
        "bot_id": news.bot_id,
        "recording": {"recording_id": news.recording_id, **recording},
        "links": [dict(link) for link in links],
    }
    return NewEvent(news.type, Subject(news.bot_id), data)
