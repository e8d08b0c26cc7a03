"""What the tests stand on: real servers, started once, and a fresh database for each test."""

import logging
import os
import random
import shutil
import signal
import ssl
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import structlog
from alembic import command
from alembic.config import Config
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from sqlalchemy import Engine, event, make_url

from models.core.engine import make_engine
from models.settings.environment import Settings
from tests.faults.report import sum_up
from tests.lab.recall import FakeRecall
from tests.lab.stack.postgres import start_postgres, stop_postgres
from tests.lab.stack.servers import Server, ServerUnavailableError, start_redis
from tests.lab.stack.signals import end_as_by_ctrl_c
from tests.support import ids
from tests.support.bulk_data import populate
from tests.support.console_client import READ, WRITE, logged_in
from tests.support.title_writes import guard_titles
from webhook.app import create_app, resources_of
from webhook.cli import environment
from workers.linking import context
from workers.linking.context import WorkerContext
from workers.recall_api.transport import make_ssl_context

ROOT = Path(__file__).parent.parent
SECRET = "whsec_cmVjYWxsLWxpbmtzIHRlc3Qgc2VjcmV0IG51bWJlciBvbmU="
API_KEY = "test-api-key-0123456789"
# Each test has its own database: half of the time to make one was WAL that nobody reads.
LEAN = ("wal_level=minimal", "max_wal_senders=0", "autovacuum=off")
# So many bots are in the database of a test that takes `full`.
FULL = 500

# How long an example takes tells of the machine's other work: only what comes of it counts.
# The same examples each time: a run that fails must fail again. `./dev fuzz` draws new ones.
FIXED, FUZZ = "fixed", "fuzz"
_EXAMPLES: dict[str, Any] = {
    "database": None,
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
}
hypothesis_settings.register_profile(FIXED, derandomize=True, **_EXAMPLES)
hypothesis_settings.register_profile(FUZZ, print_blob=True, **_EXAMPLES)
hypothesis_settings.load_profile(FIXED)
event.listen(Engine, "before_cursor_execute", guard_titles)

MakeSettings = Callable[..., Settings]
MakeContext = Callable[..., WorkerContext]


def pytest_configure(config: pytest.Config) -> None:
    """Read no .env of whoever runs this; end the servers at SIGTERM as at Ctrl-C."""
    environment.ENV_FILE = Path("no such folder") / ".env"
    # What nohup or a background job ignores, whatever tests start would ignore as well.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        end_as_by_ctrl_c()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let each test have the same ids and the same jitter in every run, whatever ran before it."""
    ids.begin(item.nodeid)
    random.seed(item.nodeid)


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Let no test see the logging that an earlier one has set up in this process."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        root.handlers[:], root.level = before
        logging.getLogger("waitress").filters.clear()


def alembic_config() -> Config:
    """Return Alembic's configuration as the Procfile's release line finds it."""
    return Config(toml_file=ROOT / "pyproject.toml")


def migrate(settings: Settings, revision: str = "head") -> None:
    """Bring a database to a revision."""
    engine = make_engine(settings, "write")
    config = alembic_config()
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


@contextmanager
def new_database(server_url: str, template: str = "template0") -> Iterator[str]:
    """Create a database on a server, and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'")
    drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
    # A connection each: in between a test may have stopped the server.
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(drop.format(sql.Identifier(name)))


def unavailable(error: Exception) -> None:
    """Skip with the reason, except in CI, where what is missing is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(error))
    pytest.skip(str(error))


@contextmanager
def a_postgres() -> Iterator[Server]:
    """Run a PostgreSQL server of one's own; skipped where none can be had."""
    # Not in pytest's folders: started by root it runs as nobody, who cannot walk into those.
    with tempfile.TemporaryDirectory(prefix="recall-links-") as folder:
        try:
            server = start_postgres(Path(folder), *LEAN)
        except ServerUnavailableError as error:
            unavailable(error)
            raise
        yield server
        stop_postgres(server)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server's administrative URL."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with a_postgres() as server:
        yield server.url


@pytest.fixture
def own_postgres() -> Iterator[Server]:
    """A PostgreSQL server of this test's own, to be broken."""
    with a_postgres() as server:
        yield server


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Redis-protocol server of this test's own, to be broken."""
    server = start_redis(tmp_path_factory.mktemp("r"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[str]:
    """The name of a migrated database to copy from."""
    with new_database(postgres_url) as url:
        migrate(Settings.read({"DATABASE_URL": url}))
        yield str(make_url(url).database)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy from."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(Settings.read({"DATABASE_URL": f"sqlite:///{path}"}))
    return path


@pytest.fixture(scope="session")
def full_postgres_template(postgres_url: str, postgres_template: str) -> Iterator[str]:
    """The name of a database of five hundred bots to copy from."""
    with new_database(postgres_url, postgres_template) as url:
        _fill(url)
        yield str(make_url(url).database)


@pytest.fixture(scope="session")
def full_sqlite_template(sqlite_template: Path) -> Path:
    """A SQLite file of five hundred bots to copy from."""
    path = sqlite_template.with_name("full.db")
    shutil.copy(sqlite_template, path)
    _fill(f"sqlite:///{path}")
    return path


def _fill(url: str) -> None:
    engine = make_engine(Settings.read({"DATABASE_URL": url}), "write")
    populate(engine, FULL)
    engine.dispose()


@pytest.fixture(params=["postgresql", "sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, migrated database; a test that takes this runs on both kinds."""
    # To write those rows for each test would take longer than most tests do.
    full = "full_" if "full" in request.fixturenames else ""
    if request.param == "sqlite":
        path = tmp_path / "test.db"
        shutil.copy(request.getfixturevalue(f"{full}sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server_url = request.getfixturevalue("postgres_url")
    template = request.getfixturevalue(f"{full}postgres_template")
    with new_database(server_url, template) as url:
        yield url


@pytest.fixture
def make_settings(database_url: str) -> MakeSettings:
    """Make settings for this test's database, with any others by their environment names."""

    def make(**environ: object) -> Settings:
        given = {"DATABASE_URL": database_url, "RECALL_API_KEY": API_KEY}
        given |= {"RECALL_WEBHOOK_SECRETS": SECRET, "RECALL_API_BASE_URL": "http://127.0.0.1:9"}
        return Settings.read(given | {name: str(value) for name, value in environ.items()})

    return make


@pytest.fixture
def engine(make_settings: MakeSettings) -> Iterator[Engine]:
    """A writing engine on this test's database."""
    engine = make_engine(make_settings(), "write", pool_size=4)
    yield engine
    engine.dispose()


@pytest.fixture
def full(engine: Engine) -> Engine:
    """The database with five hundred bots in it, whose links fit one page."""
    return engine


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Redis-protocol server, shared: a test that breaks one starts its own."""
    try:
        server = start_redis(tmp_path_factory.mktemp("redis"))
    except ServerUnavailableError as error:
        unavailable(error)
        raise
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """The shared server's URL, emptied."""
    client = redis.Redis.from_url(redis_server.url)
    client.flushall()
    client.close()
    return redis_server.url


@pytest.fixture
def recall() -> Iterator[FakeRecall]:
    """A fake Recall without rate limits."""
    with FakeRecall(limits=False) as recall:
        yield recall


@pytest.fixture(scope="session")
def tls() -> ssl.SSLContext:
    """The certificates that are trusted, read once."""
    return make_ssl_context()


@pytest.fixture
def make_context(
    make_settings: MakeSettings, recall: FakeRecall, tls: ssl.SSLContext
) -> Iterator[MakeContext]:
    """Make a worker's tools against the fake Recall, with our rate limits out of the way."""
    made: list[WorkerContext] = []

    def make(**environ: object) -> WorkerContext:
        given: dict[str, object] = {
            "RECALL_API_BASE_URL": recall.url,
            "RECALL_API_KEY": recall.api_key,
            "RECALL_RATE_SHARE": 100_000,
            "WORKER_THREADS": 4,
        }
        made.append(context.make_context(make_settings(**given | environ), tls))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def app(make_settings: MakeSettings) -> Iterator[Flask]:
    """The application, with a read and a write token."""
    app = create_app(make_settings(OPS_READ_TOKENS=READ, OPS_WRITE_TOKENS=WRITE))
    yield app
    resources_of(app).close()


@pytest.fixture
def stranger(app: Flask) -> FlaskClient:
    """A browser that has not logged in."""
    return app.test_client()


@pytest.fixture
def reader(app: Flask) -> FlaskClient:
    """A browser that logged in with a read token."""
    return logged_in(app, READ)


@pytest.fixture
def writer(app: Flask) -> FlaskClient:
    """A browser that logged in with a write token."""
    return logged_in(app, WRITE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the faults of this run came to."""
    stats = terminalreporter.stats
    reports = [report for name in ("passed", "failed") for report in stats.get(name, [])]
    if lines := sum_up(reports):
        terminalreporter.section("seconds until all was well again")
        for line in lines:
            terminalreporter.line(line)
