"""Writes state that dynos share."""

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from sqlalchemy import Connection, Table

from models.tables.base import db_now
from models.tables.workspace_state import WorkspaceState
from workers.db.upsert import insert_into


def write_state(
    connection: Connection, key: str, value: Mapping[str, object], at: datetime | None = None
) -> None:
    """Write one value, replacing an older one, as of `at` or the database's time."""
    row = {"value": value, "updated_at": db_now() if at is None else at}
    statement = insert_into(connection, cast("Table", WorkspaceState.__table__))
    statement = statement.values(key=key, **row)
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=row))
