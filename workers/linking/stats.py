"""Counts by the hour, kept as things happen: metrics and charts read these, not big tables."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import cast

from sqlalchemy import Connection, Table, func

from models.tables.base import db_now
from models.tables.ledger import TOTAL, Tally
from workers.db.upsert import Insert, insert_for
from workers.linking.outcome import Verdict

# Seconds from a bot's first webhook to its first settle; the last bucket holds the rest.
LATENCY_BUCKETS = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
_TALLIES = cast("Table", Tally.__table__)

Counts = Mapping[tuple[str, str], int]


def add_tallies(connection: Connection, counts: Counts) -> None:
    """Add to this hour's counts and to the totals, by (name, label)."""
    if not counts:
        return
    # In one order, as every writer does: two of them never wait for each other in a ring.
    rows = [{"name": n, "label": v, "count": c} for (n, v), c in sorted(counts.items())]
    for is_total in (False, True):
        connection.execute(_raise(connection.dialect.name, is_total=is_total), rows)


@cache
def _raise(dialect: str, *, is_total: bool) -> Insert:
    statement = insert_for(dialect, _TALLIES)
    raised = {"count": _TALLIES.c.count + statement.excluded.count}
    keys = ["name", "label", "hour"]
    upserted = statement.on_conflict_do_update(index_elements=keys, set_=raised)
    return upserted.values(hour=TOTAL if is_total else _this_hour(dialect))


def tallies_of(verdicts: Iterable[Verdict]) -> Counts:
    """Count outcomes, calls by endpoint and status, and how long first links took."""
    counts: Counter[tuple[str, str]] = Counter()
    for verdict in verdicts:
        counts["link", verdict.outcome] += 1
        for call in verdict.result.calls:
            # By template: a label with an id in it would make one row a bot.
            counts["call", f"{call.path} {call.status or call.error}"] += 1
        if (seconds := _first_link_seconds(verdict)) is not None:
            bucket = next((b for b in LATENCY_BUCKETS if seconds <= b), "+Inf")
            counts["receive_to_link", str(bucket)] += 1
            counts["receive_to_link_ms", ""] += round(seconds * 1000)
    return counts


def _first_link_seconds(verdict: Verdict) -> float | None:
    claim, result = verdict.result.claim, verdict.result
    if claim.waited_seconds is None or verdict.link_state not in ("linked", "no_meetings"):
        return None
    return claim.waited_seconds + (result.finished_at - result.started_at).total_seconds()


def _this_hour(dialect: str) -> object:
    if dialect == "postgresql":
        return func.date_trunc("hour", db_now())
    return func.strftime("%Y-%m-%d %H:00:00.000000", "now")
