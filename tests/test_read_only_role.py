"""The read-only role of bin/read_only_role.sql, on a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql
from sqlalchemy import Engine, create_engine, make_url, select, text

from models.settings import Settings
from models.tables import metadata
from models.titles import WORDS
from models.views import VIEWS
from tests.conftest import new_database
from tests.population import populate

SCRIPT = Path(__file__).parent.parent / "bin" / "read_only_role.sql"
ROLE = "recall_links_reader"
# The server is this test's own for as long as it runs, and listens on the loopback or a socket.
PASSWORD = "reader"


@pytest.fixture(scope="module")
def owner_url(postgres_url: str, postgres_template: str) -> Iterator[str]:
    """A migrated database with some rows in it, in which the script was run twice."""
    with new_database(postgres_url, postgres_template) as url:
        engine = create_engine(Settings.read({"DATABASE_URL": url}).database_url)
        populate(engine, 5)
        engine.dispose()
        with psycopg.connect(url, autocommit=True) as owner:
            for _ in range(2):
                owner.execute(SCRIPT.read_bytes())
            owner.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(name(), sql.Literal(PASSWORD))
            )
        yield url
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(sql.SQL("DROP OWNED BY {}").format(name()))
            owner.execute(sql.SQL("DROP ROLE {}").format(name()))


def name() -> sql.Identifier:
    """The role's name, quoted."""
    return sql.Identifier(ROLE)


@pytest.fixture
def reader(owner_url: str) -> Iterator[psycopg.Connection]:
    """A connection of the role's."""
    url = make_url(owner_url).set(username=ROLE, password=PASSWORD)
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        yield connection


@pytest.fixture
def engine(owner_url: str) -> Iterator[Engine]:
    """The same role, by SQLAlchemy."""
    url = Settings.read({"DATABASE_URL": owner_url}).database_url
    engine = create_engine(url.set(username=ROLE, password=PASSWORD))
    yield engine
    engine.dispose()


def test_the_reader_reads_every_column_of_the_three_views(engine: Engine) -> None:
    """The whole read contract, though it may read none of the tables beneath."""
    with engine.connect() as connection:
        for view in VIEWS:
            assert connection.execute(select(view)).all(), view.name


def test_the_reader_finds_links_by_words(engine: Engine) -> None:
    """Words are no more than the titles that bot_links shows."""
    asked = "SELECT word, meeting_title FROM bot_links JOIN meeting_title_words USING (meeting_id)"
    with engine.connect() as connection:
        found = connection.execute(text(asked)).all()
    assert found
    assert all(row.word in row.meeting_title.lower() for row in found)


def test_the_reader_reads_no_table(reader: psycopg.Connection) -> None:
    """Of all there are, but the words: no body, no header, no token, no address of a person."""
    tables = [*metadata().tables, "alembic_version"]
    assert {"deliveries", "rejections", "calendar_tokens"} <= set(tables)
    for table in tables:
        query = sql.SQL("SELECT 1 FROM {}").format(sql.Identifier(table))
        with pytest.raises(errors.InsufficientPrivilege):
            reader.execute(query)


@pytest.mark.parametrize(
    "column", ["deliveries.body", "rejections.headers", "rejections.body", "calendar_tokens.*"]
)
def test_what_nobody_should_see_is_not_shown(reader: psycopg.Connection, column: str) -> None:
    """Named one by one, since these are what the role is for."""
    table, _, field = column.partition(".")
    field_sql = sql.SQL("*") if field == "*" else sql.Identifier(field)
    query = sql.SQL("SELECT {} FROM {}").format(field_sql, sql.Identifier(table))
    with pytest.raises(errors.InsufficientPrivilege):
        reader.execute(query)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE bots SET link_state = 'linked'",
        "DELETE FROM links",
        "UPDATE delivery_log SET outcome = 'ignored'",
        "DELETE FROM unlinked_bots",
        "INSERT INTO erased_users VALUES ('x', now(), 'x', NULL)",
        "TRUNCATE deliveries",
        "CREATE TABLE mine (id int)",
        "DROP VIEW bot_links",
    ],
)
def test_the_reader_writes_nothing_however_it_connects(
    reader: psycopg.Connection, statement: str
) -> None:
    """Read-only by default, and without the rights once that is turned off."""
    with pytest.raises((errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege)):
        reader.execute(statement.encode())
    reader.execute("SET default_transaction_read_only = off")
    with pytest.raises(errors.InsufficientPrivilege):
        reader.execute(statement.encode())


def test_a_query_that_takes_long_is_cut(reader: psycopg.Connection) -> None:
    """At the role's own statement timeout; the test shortens the ten seconds it is set to."""
    assert reader.execute("SHOW statement_timeout").fetchone() == ("10s",)
    reader.execute("SET statement_timeout = '200ms'")
    with pytest.raises(errors.QueryCanceled):
        reader.execute("SELECT pg_sleep(30)")


def test_an_idle_transaction_is_ended(reader: psycopg.Connection) -> None:
    """Else it would hold back the vacuum of every table."""
    assert reader.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("30s",)


def test_the_script_says_what_it_needs_to_be_run(owner_url: str) -> None:
    """Plain SQL that any client runs, and no password in a file."""
    words = SCRIPT.read_text()
    assert "PASSWORD '" not in words
    assert not any(line.startswith("\\") for line in words.splitlines())
    engine = create_engine(Settings.read({"DATABASE_URL": owner_url}).database_url)
    with engine.connect() as connection:
        granted = connection.scalars(
            text("SELECT table_name FROM information_schema.role_table_grants WHERE grantee = :r"),
            {"r": ROLE},
        ).all()
    engine.dispose()
    assert sorted(granted) == sorted([WORDS.name, *(view.name for view in VIEWS)])
