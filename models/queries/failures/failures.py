"""Failing bots grouped by the reason of their last error, each with its remedy."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field
from sqlalchemy import CTE, Select, Subquery, case, func, select, true, union_all

from models.queries.failures.failing import FAILING_STATES, is_late, reason_of
from models.queries.failures.failure_remedies import remedy_of
from models.queries.filters import Filter, Time
from models.queries.pagination import Listing
from models.tables.bot import Bot

# Of each state, the most recently first seen: what an outage left behind is not read for ever.
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class FailureRow:
    """The failing bots of one reason; of each state, 10,000 at most are counted."""

    reason: str
    count: int
    failed: int
    partial: int
    pending: int
    first_seen_at: datetime
    last_seen_at: datetime
    example_bot_id: str
    remedy: str


class FailureFilter(Filter):
    """Which reasons: by when they were last seen."""

    since: Time | None = Field(None, description="last_seen_at at or after")


def failures(wanted: FailureFilter, dialect: str) -> Listing[FailureRow]:
    """List the reasons, the most frequent first."""
    grouped = _by_reason(_ranked(dialect))
    query: Select[*tuple[Any, ...]] = select(grouped)
    if wanted.since is not None:
        query = query.where(grouped.c.last_seen_at >= wanted.since)
    return Listing(query, (grouped.c["count"], grouped.c.reason), _row)


def _row(reason: str, *values: Any) -> FailureRow:
    columns = [reason, *values, remedy_of(reason)]
    return FailureRow(*columns)


def _by_reason(bots: CTE) -> Subquery:
    def in_state(state: str) -> Any:
        return func.sum(case((bots.c.link_state == state, 1), else_=0)).label(state)

    return (
        select(
            bots.c.reason,
            func.count().label("count"),
            *map(in_state, FAILING_STATES),
            func.min(bots.c.since).label("first_seen_at"),
            func.max(bots.c.at).label("last_seen_at"),
            func.max(case((bots.c.nth == 1, bots.c.id))).label("example_bot_id"),
        )
        .group_by(bots.c.reason)
        .subquery("by_reason")
    )


def _ranked(dialect: str) -> CTE:
    newest = (_newest(state, dialect).subquery() for state in FAILING_STATES)
    some = union_all(*map(select, newest)).subquery("failing")
    latest_first = (some.c.at.desc(), some.c.id.desc())
    nth = func.row_number().over(partition_by=some.c.reason, order_by=latest_first)
    return select(some, nth.label("nth")).cte("ranked")


def _newest(state: str, dialect: str) -> Select[*tuple[Any, ...]]:
    # A query for each state, so that each is read in the order of the index.
    return (
        select(
            Bot.id,
            Bot.link_state,
            reason_of(dialect).label("reason"),
            func.coalesce(Bot.owed_since, Bot.first_seen_at).label("since"),
            func.coalesce(Bot.settled_at, Bot.owed_since, Bot.first_seen_at).label("at"),
        )
        .where(Bot.link_state == state, is_late() if state == "pending" else true())
        .order_by(Bot.first_seen_at.desc(), Bot.id.desc())
        .limit(MOST_COUNTED)
    )
