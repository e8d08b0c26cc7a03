"""Hourly counts of outcomes, for metrics and charts, which then need not read big tables."""

from collections import Counter
from collections.abc import Iterable

from models.tables.hourly_count import LATENCY_BUCKETS
from workers.db.counters import Counts
from workers.linking.outcome import LinkOutcome


def hourly_counts_of(outcomes: Iterable[LinkOutcome]) -> Counts:
    """Count outcomes, calls by endpoint and status, and how long first links took."""
    counts: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        counts["link", outcome.attempt_outcome] += 1
        for call in outcome.result.calls:
            # By path template: a label with an id would be a row for each bot.
            counts["call", f"{call.path} {call.status or call.error}"] += 1
        if (seconds := _first_link_seconds(outcome)) is not None:
            bucket = next((b for b in LATENCY_BUCKETS if seconds <= b), "+Inf")
            counts["receive_to_link", str(bucket)] += 1
            counts["receive_to_link_ms", ""] += round(seconds * 1000)
    return counts


def _first_link_seconds(outcome: LinkOutcome) -> float | None:
    claim, result = outcome.result.claim, outcome.result
    if claim.waited_seconds is None or outcome.link_state not in ("linked", "no_meetings"):
        return None
    return claim.waited_seconds + (result.finished_at - result.started_at).total_seconds()
