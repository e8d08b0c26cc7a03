"""Hourly counters."""

from collections.abc import Mapping
from functools import cache
from typing import cast

from sqlalchemy import Connection, Table, func

from models.tables.base import db_now
from models.tables.hourly_count import TOTAL, HourlyCount
from workers.db.upsert import Insert, insert_for

_TALLIES = cast("Table", HourlyCount.__table__)


Counts = Mapping[tuple[str, str], int]


def add_hourly_counts(connection: Connection, counts: Counts) -> None:
    """Add to this hour's counts and to the totals, by (name, label)."""
    if not counts:
        return
    # In one order, as all writers do, so that they cannot deadlock.
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


def _this_hour(dialect: str) -> object:
    if dialect == "postgresql":
        return func.date_trunc("hour", db_now())
    return func.strftime("%Y-%m-%d %H:00:00.000000", "now")
