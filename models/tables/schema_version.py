"""The migration this code is written for, and how a database compares with what it needs."""

from sqlalchemy import Connection, inspect, text

# Here and not read from the migrations: readyz must not load Alembic in the web process. A test
# keeps it equal to the newest one.
HEAD = "0021"
ENCODING = "UTF8"


def version(connection: Connection) -> str | None:
    """Return the migration that the database is at; None where it has no tables of ours."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def wrong_encoding(connection: Connection) -> str | None:
    """Return what the database is encoded in, where that cannot hold every text; else None."""
    if connection.dialect.name != "postgresql":
        return None
    found = str(connection.scalar(text("SELECT current_setting('server_encoding')")))
    return None if found == ENCODING else found
