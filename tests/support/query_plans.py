"""How a database would answer: its plan for a statement, and whether that reads a table whole."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, event

# A plan may read these whole: a row for each worker, for each night, the clock, what a subquery
# has just found.
SMALL = frozenset(
    {
        *("workspace_state", "reconcile_runs", "alembic_version", "CONSTANT"),
        *("anon_1", "anon_2", "anon_3", "failing", "ranked", "by_reason"),
    }
)
# An index of failed bots alone: while they are few, sorting them is quicker than their order's own.
SMALL_INDEXES = frozenset({"ix_bots_failed_reason"})


def whole_scans(connection: Connection, statement: str, values: Any = ()) -> list[str]:
    """The tables that a plan reads from end to end: without an index, or only to sort them then.

    The statement is the driver's own, as `statements_of` gives it, or has no values.
    """
    if connection.dialect.name == "postgresql":
        found = _postgresql_scans(_postgresql_tree(connection, statement, values))
    else:
        found = _sqlite_scans(_sqlite_plan(connection, statement, values))
    return [table for table in found if table not in SMALL]


def walks(connection: Connection, statement: str, values: Any = ()) -> list[str]:
    """The tables that a plan reads without looking anything up in an index, be it in its order."""
    if connection.dialect.name == "sqlite":
        return [step for _, step in _sqlite_plan(connection, statement, values) if "SCAN" in step]
    nodes = list(_nodes(_postgresql_tree(connection, statement, values)))
    scans = [node for node in nodes if node["Node Type"].endswith("Scan")]
    is_by_index = ("Bitmap Heap Scan", "Subquery Scan")
    return [
        str(node.get("Relation Name"))
        for node in scans
        if "Index Cond" not in node and node["Node Type"] not in is_by_index
    ]


def _postgresql_tree(connection: Connection, statement: str, values: Any) -> dict[str, Any]:
    explained = connection.exec_driver_sql("EXPLAIN (FORMAT JSON) " + statement, values)
    (plan,) = explained.scalar_one()
    tree: dict[str, Any] = plan["Plan"]
    return tree


def _sqlite_plan(connection: Connection, statement: str, values: Any) -> list[tuple[int, str]]:
    """Each step, after the number of the subquery that it belongs to."""
    explained = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, values)
    return [(row.parent, row.detail) for row in explained]


def _postgresql_scans(node: dict[str, Any], *, is_sorted: bool = False) -> Iterator[str]:
    is_index = "Index" in node["Node Type"] and node["Node Type"] != "Bitmap Heap Scan"
    is_index = is_index and node.get("Index Name") not in SMALL_INDEXES
    if node["Node Type"] == "Seq Scan" or (is_index and is_sorted and "Index Cond" not in node):
        yield str(node.get("Relation Name", node.get("Index Name")))
    # A sort in a subquery beside it, of the few rows that belong to one, does not count. Neither
    # does an incremental one, which ends where the page is full.
    is_sorted = is_sorted or node["Node Type"] == "Sort"
    for inner in node.get("Plans", []):
        yield from _postgresql_scans(inner, is_sorted=is_sorted)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", []):
        yield from _nodes(inner)


def _sqlite_scans(steps: list[tuple[int, str]]) -> Iterator[str]:
    sorted_in = {parent for parent, step in steps if "TEMP B-TREE FOR ORDER BY" in step}
    for parent, step in steps:
        scan = re.match(r"SCAN (\w+)\b(.*)", step)
        # A full-text table says SCAN of what its own index finds.
        if scan and "VIRTUAL" not in scan[2] and ("USING" not in scan[2] or parent in sorted_in):
            yield scan[1]


def statements_of(connection: Connection, work: Callable[[], object]) -> list[tuple[str, Any]]:
    """What some work asks the database, in the driver's words, with its values."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        asked.append((statement, values))

    event.listen(connection, "before_cursor_execute", note)
    work()
    event.remove(connection, "before_cursor_execute", note)
    return asked
