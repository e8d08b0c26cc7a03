"""One bot's life as one line of moments: statuses, deliveries, attempts, the next try."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from models.rows import AttemptRow, CallRow, DeliveryRow, Explained, StatusRow

_ORDER = {"delivery": 0, "status": 1, "attempt": 2, "next": 3}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened, or will: when, what, how it came out, and what more is known."""

    at: datetime
    kind: str
    what: str
    outcome: str | None = None
    notes: tuple[str, ...] = ()
    ms: int | None = None
    calls: tuple[CallRow, ...] = ()


def timeline(found: Explained) -> list[Moment]:
    """Merge all that is known of a bot, the earliest first."""
    moments = [
        *map(_status, found.statuses),
        *map(_delivery, found.deliveries),
        *map(_attempt, found.attempts),
        *_next(found),
    ]
    # Equal times are common; what arrives comes before what follows from it.
    return sorted(moments, key=lambda moment: (moment.at, _ORDER[moment.kind]))


def _status(row: StatusRow) -> Moment:
    return Moment(row.occurred_at, "status", row.code, notes=_notes(row.sub_code, row.message))


def _delivery(row: DeliveryRow) -> Moment:
    copies = f"arrived {row.copies} times" if row.copies > 1 else None
    code = None if row.code is None else f"code {row.code}"
    notes = _notes(code, row.reason, copies, row.delivery_id)
    return Moment(row.received_at, "delivery", row.event or "no event", row.outcome, notes)


def _attempt(row: AttemptRow) -> Moment:
    ms = round((row.finished_at - row.started_at).total_seconds() * 1000)
    return Moment(
        row.started_at,
        "attempt",
        "look-up at Recall",
        row.outcome,
        _notes(row.error),
        ms,
        tuple(row.calls),
    )


def _next(found: Explained) -> Iterator[Moment]:
    if found.bot.due_at is not None:
        yield Moment(found.bot.due_at, "next", "next look-up", notes=_notes(found.bot.last_error))


def _notes(*words: str | None) -> tuple[str, ...]:
    return tuple(word for word in words if word)
