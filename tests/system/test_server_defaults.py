"""No default of the server, the database or the role that we rely on is left to chance."""

from collections.abc import Iterator
from typing import get_args

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, text

from models.core.engine import make_engine
from models.core.postgresql import Mode, is_pooled
from models.settings.environment import Settings
from models.tables.bot import Bot
from models.tables.link import Link
from tests.conftest import SECRET, a_postgres, migrate, new_database
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery
from tests.lab.sender.events import lifecycle
from tests.lab.sender.sender import Sender
from tests.lab.stack.servers import Server
from tests.support.console_client import READ, logged_in
from tests.support.rows import rows
from tests.system.test_pooler import pooled
from webhook.app import create_app, resources_of
from webhook.doctor.system import examine_database
from workers.linking import context
from workers.linking.drain import Drain
from workers.recall_api.transport import make_ssl_context
from workers.shutdown import Stop

# What a database or a role can carry: each would spoil something that is relied on.
HOSTILE = {
    "timezone": "Asia/Kolkata",
    "datestyle": "SQL, DMY",
    "client_encoding": "LATIN1",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "default_transaction_isolation": "serializable",
    "synchronous_commit": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "search_path": "elsewhere, public",
}
OURS = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "client_encoding": "UTF8",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    "transaction_isolation": "read committed",
    "synchronous_commit": "on",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "1min",
    # A person's own choice, which is respected.
    "search_path": "elsewhere, public",
}


def make_hostile(server_url: str, database: str) -> None:
    """Give a database every hostile default."""
    place = make_url(server_url).set(database=database).render_as_string(hide_password=False)
    with psycopg.connect(place, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA elsewhere; GRANT ALL ON SCHEMA elsewhere TO public")
        for name, value in HOSTILE.items():
            # A list of schemas is no single text.
            given = sql.SQL(value) if name == "search_path" else sql.Literal(value)
            one = sql.SQL("ALTER DATABASE {} SET {} = {}")
            admin.execute(one.format(sql.Identifier(database), sql.Identifier(name), given))
        # What a pooler has open is from before.
        others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        admin.execute(f"{others} AND pid <> pg_backend_pid()", [database])


@pytest.fixture(scope="module", params=["direct", "pooled"])
def hostile_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with every hostile default, reached directly and through a pooler."""
    with a_postgres() as server:
        reached = pooled(server) if request.param == "pooled" else new_database(server.url)
        with reached as url:
            make_hostile(server.url, str(make_url(url).database))
            yield url


@pytest.mark.timeout(240)
def test_everything_works_under_hostile_defaults(hostile_url: str) -> None:
    """Release, webhooks, a drain, pages and the doctor."""
    migrate(Settings.read({"DATABASE_URL": hostile_url}))
    with FakeRecall(limits=False) as recall:
        [bot] = recall.build.populate(1)
        settings = Settings.read({
            "DATABASE_URL": hostile_url,
            "RECALL_API_KEY": recall.api_key,
            "RECALL_API_BASE_URL": recall.url,
            "RECALL_WEBHOOK_SECRETS": SECRET,
            "OPS_READ_TOKENS": READ,
        })  # fmt: skip
        app = create_app(settings)
        for event in lifecycle(bot):
            told = Delivery.of(event)
            headers = Sender(recall.url, [SECRET]).headers(told)
            answer = app.test_client().post("/webhooks/recall", data=told.body, headers=headers)
            assert answer.status_code == 202, answer.text
        made = context.make_context(settings, make_ssl_context())
        Drain(made, Stop()).run()
    reader = logged_in(app, READ)
    assert reader.get("/console/").status_code == 200
    assert bot.id in reader.get(f"/console/bots/{bot.id}").text
    assert reader.get("/readyz").status_code == 200
    [row], links = rows(made.engine, Bot), rows(made.engine, Link)
    assert (row.status, len(links)) == ("done", len(bot.calendar_meetings))
    findings = list(examine_database(resources_of(app).reads, settings))
    # None was started here.
    assert {finding.name for finding in findings if finding.level == "failed"} == {"no_worker"}
    with made.engine.connect() as connection:
        through = "through a pooler" in findings[0].text
        assert through is is_pooled(connection) is ("pooled" in hostile_url)
    made.close()
    resources_of(app).close()


@pytest.mark.parametrize("mode", get_args(Mode))
def test_each_connection_has_our_settings(hostile_url: str, mode: Mode) -> None:
    """In every mode, in each transaction, whoever set what for the database."""
    engine = make_engine(Settings.read({"DATABASE_URL": hostile_url}), mode)
    with engine.connect() as connection:
        # Each statement stands alone there: whoever runs one sets it up by itself.
        is_bare = mode == "autocommit" and is_pooled(connection)
        for _ in range(0 if is_bare else 2):
            found = {n: connection.scalar(text(f"SHOW {n}")) for n in OURS}
            assert found == OURS
            patience = "1s" if mode == "autocommit" else "2s"
            assert connection.scalar(text("SHOW lock_timeout")) == patience
            read_only = "on" if mode == "read" else "off"
            assert connection.scalar(text("SHOW transaction_read_only")) == read_only
            connection.rollback()
    engine.dispose()


def test_a_urls_own_options_are_kept_and_ours_come_after(hostile_url: str) -> None:
    """Directly and through a pooler, which would refuse them."""
    options = r"-csearch_path=mine,public -c statement_timeout=1h -cwork_mem=5MB"
    own = {"options": f"{options} -cclient_encoding=LATIN1"}
    url = make_url(hostile_url).update_query_dict(own).render_as_string(hide_password=False)
    engine = make_engine(Settings.read({"DATABASE_URL": url}), "write")
    with engine.connect() as connection:
        shown = ("search_path", "statement_timeout", "work_mem", "client_encoding")
        found = [connection.scalar(text(f"SHOW {name}")) for name in shown]
    engine.dispose()
    assert found == ["mine,public", "10s", "5MB", "UTF8"]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_in_another_encoding_is_refused(own_postgres: Server, encoding: str) -> None:
    """By release, by readyz and by the doctor, each by its name."""
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE other TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    url = make_url(own_postgres.url).set(database="other").render_as_string(hide_password=False)
    settings = Settings.read({"DATABASE_URL": url})
    with pytest.raises(Exception, match=encoding):
        migrate(settings)
    app = create_app(settings)
    reads = resources_of(app).reads
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE TABLE alembic_version AS SELECT '9999' AS version_num")
    assert encoding in app.test_client().get("/readyz").get_json()["checks"]["database"]
    found = {finding.name: finding for finding in examine_database(reads, settings)}
    assert found["encoding"].level == "failed"
    assert encoding in found["encoding"].text
    resources_of(app).close()
