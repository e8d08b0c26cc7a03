"""INSERT … ON CONFLICT for both databases, many rows at a time."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Rows = Sequence[dict[str, Any]]
Insert = postgresql.Insert | sqlite.Insert


def insert_into(connection: Connection, table: Table) -> Insert:
    """Return the INSERT of this database's dialect, which has ON CONFLICT."""
    return insert_for(connection.dialect.name, table)


def insert_for(dialect: str, table: Table) -> Insert:
    """Return the same by the dialect's name, for cached statements."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def upsert(connection: Connection, table: Table, rows: Rows, *, update: Sequence[str] = ()) -> None:
    """Insert rows (keyed by column name); where the key exists, set `update` from the new row.

    Without `update` the existing row stays. Rows are sorted by key, so that writers cannot
    deadlock.
    """
    # An empty executemany would insert one row of defaults.
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    statement = _upsert(connection.dialect.name, table, tuple(update))
    connection.execute(statement, sorted(rows, key=lambda row: [row[key] for key in keys]))


@cache
def _upsert(dialect: str, table: Table, update: tuple[str, ...]) -> Insert:
    # Cached: building a statement and its cache key costs more than sending it.
    statement = insert_for(dialect, table)
    keys = [column.name for column in table.primary_key]
    if not update:
        return statement.on_conflict_do_nothing(index_elements=keys)
    changed = {name: statement.excluded[name] for name in update}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)
