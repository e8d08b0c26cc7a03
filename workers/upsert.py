"""INSERT … ON CONFLICT for both databases, many rows at a time."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Rows = Sequence[dict[str, Any]]
Insert = postgresql.Insert | sqlite.Insert


def insert_into(connection: Connection, table: Table) -> Insert:
    """Return this database's own INSERT, which knows ON CONFLICT."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def upsert(connection: Connection, table: Table, rows: Rows, *, update: Sequence[str] = ()) -> None:
    """Insert rows (keyed by column name); where the key is there, set `update` from the new row.

    Without `update` the row that is there stays. The rows go in the order of their keys, so that
    two writers never wait for each other in a ring.
    """
    # An empty executemany would be read as one row of defaults.
    if not rows:
        return
    statement = insert_into(connection, table)
    keys = [column.name for column in table.primary_key]
    if update:
        changed = {name: statement.excluded[name] for name in update}
        statement = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    # SQLAlchemy sends an executemany in batches of many VALUES: one round trip, not one a row.
    connection.execute(statement, sorted(rows, key=lambda row: [row[key] for key in keys]))
