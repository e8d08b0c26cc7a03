"""Everything a database holds, to search it for what must not be there."""

from typing import Any

from sqlalchemy import Engine, text


def dump(engine: Engine) -> str:
    """Every value of every table, bytes as text."""
    with engine.connect() as connection:
        kind = connection.dialect.name
        names = (
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%_data'"
            if kind == "sqlite"
            else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        tables = connection.scalars(text(names)).all()
        found = [connection.execute(text(f"SELECT * FROM {t}")).all() for t in tables]  # noqa: S608
    return str([[[_read(v) for v in row] for row in one] for one in found])


def _read(value: Any) -> object:
    is_bytes = isinstance(value, bytes | memoryview)
    return bytes(value).decode("utf-8", "replace") if is_bytes else value
