"""The timeline of one bot: deliveries, statuses, attempts and the next attempt."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from models.queries.rows import AttemptRow, CallRow, DeliveryRow, EventLine, Explained, StatusRow

# Equal times are common; a delivery is listed before its effects.
_ORDER = {"delivery": 0, "status": 1, "attempt": 2, "event": 3, "next": 4}


@dataclass(frozen=True, slots=True)
class Moment:
    """One past or future entry of the timeline; `ms` is its duration."""

    at: datetime
    kind: str
    what: str
    outcome: str | None = None
    notes: tuple[str, ...] = ()
    ms: int | None = None
    calls: tuple[CallRow, ...] = ()


def timeline(found: Explained) -> list[Moment]:
    """Merge everything known about a bot, the earliest first."""
    moments = [
        *map(_delivery, found.deliveries),
        *map(_status, found.statuses),
        *map(_attempt, found.attempts),
        *map(_event, found.events),
        *_next(found),
    ]
    return sorted(moments, key=lambda moment: (moment.at, _ORDER[moment.kind]))


def _status(row: StatusRow) -> Moment:
    return Moment(row.occurred_at, "status", row.code, notes=_notes(row.sub_code, row.message))


def _delivery(row: DeliveryRow) -> Moment:
    code = f"code {row.code}" if row.code else None
    copies = f"arrived {row.copies} times" if row.copies > 1 else None
    notes = _notes(code, row.reason, copies, row.delivery_id)
    return Moment(row.received_at, "delivery", row.event or "no event", row.outcome, notes)


def _attempt(row: AttemptRow) -> Moment:
    took = round((row.finished_at - row.started_at).total_seconds() * 1000)
    notes, calls = _notes(row.error), tuple(row.calls)
    return Moment(row.started_at, "attempt", "look-up at Recall", row.outcome, notes, took, calls)


def _event(row: EventLine) -> Moment:
    return Moment(row.created_at, "event", row.type, row.state, _notes(", ".join(row.changed)))


def _next(found: Explained) -> Iterator[Moment]:
    if found.bot.due_at is not None:
        yield Moment(found.bot.due_at, "next", "next attempt", notes=_notes(found.bot.last_error))


def _notes(*words: str | None) -> tuple[str, ...]:
    return tuple(word for word in words if word)
