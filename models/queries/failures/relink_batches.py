"""Bulk retries: the latest batches, and what came of each."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Select, func, select

from models.queries.failures.failing import UNKNOWN
from models.queries.failures.failure_remedies import remedy_of
from models.queries.views import RELINK_BATCH_LOG
from models.tables.relink_batch import RelinkBatch

LATEST = 20
# A bot comes through when its look-up ends, with meetings or without.
_THROUGH = ("linked", "no_meetings")
# It fails again when it is given up, or when some of its meetings are still missing.
_FAILED = ("failed", "partial")


@dataclass(frozen=True, slots=True)
class RelinkBatchRow:
    """One bulk retry."""

    batch: int
    retried_at: datetime
    actor: str
    bots: int


@dataclass(frozen=True, slots=True)
class FailedAgain:
    """The bots of a batch that failed again for one reason."""

    reason: str
    count: int
    example_bot_id: str
    remedy: str


@dataclass(frozen=True, slots=True)
class RelinkBatchResult:
    """What came of a batch: how many came through, wait, and failed again by what."""

    batch: int
    retried_at: datetime
    actor: str
    bots: int
    came_through: int
    waiting: int
    failed_again: int
    reasons: list[FailedAgain]


def latest_batches(connection: Connection, most: int = LATEST) -> list[RelinkBatchRow]:
    """Return the latest bulk retries, newest first."""
    newest = _batches().order_by(RelinkBatch.id.desc()).limit(most)
    return [RelinkBatchRow(*row) for row in connection.execute(newest)]


def batch_result(connection: Connection, batch: int) -> RelinkBatchResult | None:
    """Return what came of a batch; None if there is none of this number."""
    row = connection.execute(_batches().where(RelinkBatch.id == batch)).one_or_none()
    if row is None:
        return None
    columns = RELINK_BATCH_LOG.c
    counted = select(
        columns.outcome,
        func.coalesce(columns.reason, UNKNOWN).label("reason"),
        func.count().label("bots"),
        func.max(columns.bot_id).label("example"),
    ).where(columns.batch_id == batch)
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for found in connection.execute(counted.group_by(columns.outcome, "reason")):
        outcomes[found.outcome] += found.bots
        if found.outcome in _FAILED:
            reasons[found.reason] += found.bots
            examples[found.reason] = found.example
    through = sum(outcomes[state] for state in _THROUGH)
    return RelinkBatchResult(
        *row,
        came_through=through,
        waiting=outcomes.total() - through - reasons.total(),
        failed_again=reasons.total(),
        reasons=[
            FailedAgain(reason, count, examples[reason], remedy_of(reason))
            for reason, count in reasons.most_common()
        ],
    )


def _batches() -> Select[int, datetime, str, int]:
    return select(RelinkBatch.id, RelinkBatch.at, RelinkBatch.actor, RelinkBatch.bots)
