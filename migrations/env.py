"""How Alembic reaches the database: one migrator at a time, and never waiting long for a lock."""

import logging
import os
import sqlite3
import sys
from typing import NoReturn

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from models.database import make_engine
from models.database_errors import is_away
from models.database_remedies import in_words
from models.logs import set_up_logging
from models.schema import ENCODING, wrong_encoding
from models.settings import Settings, SettingsError
from models.tables import metadata

# Any number will do, as long as no other lock of this database uses it.
MIGRATION_LOCK = 7_203_114_001
# For another migrator; SQLite's file has one writer, so there it also is the wait for a busy one.
PATIENCE_SECONDS = 300
SQLITE_PATIENCE_SECONDS = 30


def configure(connection: Connection) -> None:
    """Point Alembic at this connection, comparing with the models' tables."""
    context.configure(
        connection=connection,
        target_metadata=metadata(),
        render_as_batch=connection.dialect.name == "sqlite",
        # SQLite's as well, since our engine begins by itself: with a commit after each step a
        # second migrator would come in between and make the next one's tables.
        transactional_ddl=True,
        compare_type=True,
        compare_server_default=True,
        # The words of titles are in tables that triggers keep, and that no model speaks to.
        include_name=lambda name, _kind, _parents: not str(name).startswith("meeting_title"),
    )


def lock(connection: Connection) -> None:
    """Wait for another migrator, then refuse to wait behind a busy table."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE_SECONDS}s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text("SET LOCAL lock_timeout = '3s'"))


def refuse_encoding(connection: Connection) -> None:
    """Make no tables where some titles and messages could not be stored."""
    if found := wrong_encoding(connection):
        raise CommandError(
            f"the database is encoded in {found}, which cannot hold every title and message:"
            f" create one with ENCODING '{ENCODING}'"
        )


def be_patient(connection: Connection) -> None:
    """Let SQLite wait for another migrator, too; to be said before anything begins."""
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        driver.execute(f"PRAGMA busy_timeout={SQLITE_PATIENCE_SECONDS * 1000}")


def migrate(connection: Connection) -> None:
    """Run the steps asked for, all or none."""
    be_patient(connection)
    configure(connection)
    with context.begin_transaction():
        lock(connection)
        refuse_encoding(connection)
        context.run_migrations()


def main() -> None:
    """Migrate over the connection a test hands in, or one of our own."""
    given = context.config.attributes.get("connection")
    if given is not None:
        migrate(given)
        return
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        # As every other entrance does; Alembic itself would show where it was raised.
        _end(str(error), 2)
    set_up_logging(settings)
    logging.getLogger("alembic").setLevel(settings.log_level)
    engine = make_engine(settings, "write")
    try:
        with engine.connect() as connection:
            migrate(connection)
    except SQLAlchemyError as error:
        # A bug of ours keeps its traceback.
        if words := in_words(error):
            _end(words, 3 if is_away(error) else 1)
        raise
    engine.dispose()


def _end(words: str, code: int) -> NoReturn:
    print(f"recall-links release: {words}", file=sys.stderr)
    sys.exit(code)


main()
