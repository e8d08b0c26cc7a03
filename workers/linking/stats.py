"""Hourly counts of outcomes, for metrics and charts, which then need not read big tables."""

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, select

from models.core.bot_outcome import end_kind
from models.core.sub_codes import sub_code_label
from models.tables.bot import Bot
from models.tables.hourly_count import BOT_END, LATENCY_BUCKETS
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


def ends_of(connection: Connection, outcomes: Iterable[LinkOutcome]) -> Counts:
    """Count how the bots ended that these outcomes seal: each bot once, since it is sealed once."""
    sealed = [outcome.result.claim.bot_id for outcome in outcomes if outcome.seals]
    if not sealed:
        return {}
    ended = select(Bot.status, Bot.ended_sub_code, Bot.recorded).where(Bot.id.in_(sealed))
    counts: Counter[tuple[str, str]] = Counter()
    for status, sub_code, recorded in connection.execute(ended):
        if kind := end_kind(status, sub_code, recorded=recorded):
            counts[BOT_END, f"{kind} {sub_code_label(sub_code)}"] += 1
    return counts


def _first_link_seconds(outcome: LinkOutcome) -> float | None:
    claim, result = outcome.result.claim, outcome.result
    if claim.waited_seconds is None or outcome.link_state not in ("linked", "no_meetings"):
        return None
    return claim.waited_seconds + (result.finished_at - result.started_at).total_seconds()
