"""Where a server answered with a reason, every place says that reason, and what to do."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_remedies import describe
from models.core.engine import make_engine
from models.settings.environment import Settings
from tests.conftest import migrate, new_database, unavailable
from tests.lab.stack.pgbouncer import start_pgbouncer
from tests.lab.stack.postgres import start_postgres, stop_postgres
from tests.lab.stack.servers import Server, ServerUnavailableError, free_port
from webhook.app import create_app, resources_of
from webhook.doctor.system import examine_database

PASSWORD = "s3cret-word"
# What each address is refused with, and a word of what is to be done.
REFUSALS = {
    "a wrong password": (
        "postgres://app:wrong-word@127.0.0.1:{port}/links",
        'password authentication failed for user "app"',
        "password in DATABASE_URL",
    ),
    "no password": (
        "postgres://app@127.0.0.1:{port}/links",
        "no password supplied",
        "password in DATABASE_URL",
    ),
    "nothing listens": (
        "postgres://app:s3cret-word@127.0.0.1:{free}/links",
        "Connection refused",
        "host and port",
    ),
    "no such host": (
        "postgres://app:s3cret-word@nowhere.invalid/links",
        "failed to resolve host",
        "host and port",
    ),
    "no TLS where it is asked for": (
        "postgres://secure:s3cret-word@127.0.0.1:{port}/links?sslmode=disable",
        "no encryption",
        "sslmode=require",
    ),
    "TLS where there is none": (
        "postgres://app:s3cret-word@127.0.0.1:{port}/links?sslmode=require",
        "server does not support SSL",
        "remove sslmode=require",
    ),
    "no such database": (
        "postgres://app:s3cret-word@127.0.0.1:{port}/nothing",
        'database "nothing" does not exist',
        "create it",
    ),
    "no such role": (
        "postgres://nobody-such:x@127.0.0.1:{port}/links",
        "password authentication failed",
        "password in DATABASE_URL",
    ),
    "no CONNECT": (
        "postgres://stranger:s3cret-word@127.0.0.1:{port}/links",
        'permission denied for database "links"',
        "GRANT CONNECT",
    ),
    "too many connections": (
        "postgres://crowded:s3cret-word@127.0.0.1:{port}/links",
        'too many connections for role "crowded"',
        "scale down",
    ),
    "an option with no such value": (
        "postgres://app:s3cret-word@127.0.0.1:{port}/links?options=-cwork_mem%3Dmuch",
        'invalid value for parameter "work_mem": "much"',
        "options in DATABASE_URL",
    ),
    "an option that there is not": (
        "postgres://app:s3cret-word@127.0.0.1:{port}/links?options=-cno_such%3D1",
        'unrecognized configuration parameter "no_such"',
        "options in DATABASE_URL",
    ),
    "a pooler that refuses": (
        "postgres://app:s3cret-word@127.0.0.1:{pooler}/nothing",
        "no such database: nothing",
        "create it",
    ),
    "a pooler without the parameter": (
        "postgres://app:s3cret-word@127.0.0.1:{pooler}/links?options=endpoint%3Dx",
        "unsupported startup parameter",
        "ignore_startup_parameters",
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL that lets people in by password, and one of them by TLS alone."""
    with tempfile.TemporaryDirectory(prefix="recall-links-") as name:
        folder = Path(name)
        try:
            server = start_postgres(folder)
        except ServerUnavailableError as error:
            unavailable(error)
            raise
        with psycopg.connect(server.url, autocommit=True) as admin:
            for role in ("app", "stranger", "crowded", "secure"):
                admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
            admin.execute("ALTER ROLE crowded CONNECTION LIMIT 0")
            admin.execute("CREATE DATABASE links OWNER postgres ENCODING 'UTF8'")
            admin.execute("REVOKE CONNECT ON DATABASE links FROM public")
            admin.execute("GRANT CONNECT ON DATABASE links TO app, crowded")
            rules = "host all postgres all trust\nhostssl all secure all scram-sha-256\n"
            rules += "host all app,stranger,crowded,nobody-such all scram-sha-256\n"
            (folder / "data" / "pg_hba.conf").write_text(rules)
            admin.execute("SELECT pg_reload_conf()")
        yield server
        stop_postgres(server)


@pytest.fixture(scope="module")
def pooler(server: Server) -> Iterator[Server]:
    """A PgBouncer before it, with its package's settings."""
    with tempfile.TemporaryDirectory(prefix="recall-links-") as folder:
        url = make_url(server.url).set(database="links").render_as_string(hide_password=False)
        try:
            pooler = start_pgbouncer(Path(folder), url, {"app": PASSWORD})
        except ServerUnavailableError as error:
            unavailable(error)
            raise
        yield pooler
        pooler.stop()


@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal_is_told_in_the_servers_words(
    request: pytest.FixtureRequest, server: Server, what: str
) -> None:
    """By the doctor, by readyz without anybody's name, by the log and the command line."""
    pattern, said, todo = REFUSALS[what]
    ports = {"port": make_url(server.url).port, "free": free_port()}
    if "{pooler}" in pattern:
        ports["pooler"] = make_url(request.getfixturevalue("pooler").url).port
    settings = Settings.read({"DATABASE_URL": pattern.format(**ports)})
    app = create_app(settings)
    [finding] = examine_database(resources_of(app).reads, settings)
    assert (finding.level, finding.is_away) == ("failed", True)
    assert said in finding.text
    assert todo in finding.remedy
    ready = app.test_client().get("/readyz").get_json()["checks"]["database"]
    quoted = {word for word in said.split('"')[1::2] if word}
    assert said.split('"')[0].split(": ")[0] in ready
    assert not [word for word in quoted if f'"{word}"' in ready]
    with pytest.raises(SQLAlchemyError) as caught, make_engine(settings, "write").connect():
        pass
    line = describe(caught.value) or ""
    assert said in line
    assert todo in line
    for words in (finding.text, ready, line):
        assert "\n" not in words
        assert "word" not in words.replace("password", "")
    resources_of(app).close()


def test_a_role_that_may_make_no_tables_is_told_what_it_lacks(server: Server) -> None:
    """By the release line and `db upgrade`: refused, and not away."""
    port = make_url(server.url).port
    url = f"postgres://app:{PASSWORD}@127.0.0.1:{port}/links"
    with pytest.raises(SQLAlchemyError) as caught:
        migrate(Settings.read({"DATABASE_URL": url}))
    line = describe(caught.value) or ""
    assert line.startswith("the database refuses: permission denied for schema public")
    assert "GRANT USAGE, CREATE ON SCHEMA" in line


def test_a_role_that_may_not_read_hears_it_from_readyz(server: Server) -> None:
    """The tables are there: to migrate again would mend nothing."""
    with new_database(server.url) as url:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("CREATE TABLE alembic_version AS SELECT '9999' AS version_num")
        asked = make_url(url).set(username="app", password=PASSWORD)
        app = create_app(
            Settings.read({"DATABASE_URL": asked.render_as_string(hide_password=False)})
        )
        ready = app.test_client().get("/readyz").get_json()["checks"]["database"]
        assert ready == "refuses: permission denied for table alembic_version"
        resources_of(app).close()
