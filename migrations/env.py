"""How Alembic reaches the database: one migrator at a time, and never waiting long for a lock."""

import logging
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import is_unavailable
from models.core.database_remedies import describe
from models.core.engine import make_engine
from models.core.logging import set_up_logging
from models.settings.environment import Settings, SettingsError
from models.tables.metadata import belongs_to, metadata
from models.tables.schema_version import ENCODING, wrong_encoding

# Any number will do, as long as no other lock of this database uses it.
MIGRATION_LOCK = 7_203_114_001
# For another migrator; SQLite's file has one writer, so there it also is the wait for a busy one.
PATIENCE_SECONDS = 300
SQLITE_PATIENCE_SECONDS = 30
TURN_SECONDS = 0.2


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
        # SQLite finds words of titles by tables that triggers keep, and that no model speaks to.
        include_object=belongs_to(connection.dialect.name),
        include_name=lambda name, _kind, _parents: not str(name).startswith("meeting_title"),
    )


@contextmanager
def only_migrator(connection: Connection) -> Iterator[None]:
    """Wait for another migrator; on PostgreSQL the turn outlives what a migration commits."""
    if connection.dialect.name != "postgresql":
        yield
        return
    # In a transaction of its own, which a pooler keeps on one server's connection.
    engine = create_engine(
        connection.engine.url,
        poolclass=NullPool,
        # A server's default may be a stricter one, which keeps one snapshot to the end.
        isolation_level="READ COMMITTED",
        connect_args={"prepare_threshold": None, "client_encoding": "UTF8"},
    )
    with engine.connect() as turn:
        wait_for_turn(turn)
        # A statement without parameters and answer: what went before would keep its snapshot, and
        # an index that is made concurrently waits for every snapshot.
        turn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield


def wait_for_turn(turn: Connection) -> None:
    """Ask again and again, and begin no transaction that the other's index would wait for."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not turn.scalar(text(f"SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK})")):
        turn.rollback()
        if time.monotonic() >= give_up_at:
            raise TimeoutError(f"another migration has run for {PATIENCE_SECONDS} s")
        time.sleep(TURN_SECONDS)


def be_brief(connection: Connection) -> None:
    """Refuse to wait behind a busy table; a statement may take its time."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
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
    with only_migrator(connection), context.begin_transaction():
        be_brief(connection)
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
        if words := describe(error):
            _end(words, 3 if is_unavailable(error) else 1)
        raise
    engine.dispose()


def _end(words: str, code: int) -> NoReturn:
    print(f"recall-links release: {words}", file=sys.stderr)
    sys.exit(code)


main()
