"""Through a PgBouncer in transaction mode everything works as it does without."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, make_url

from models.core.engine import make_engine
from models.core.postgresql import Mode
from models.settings.environment import Settings
from models.tables.delivery import Delivery
from models.tables.link import Link
from tests.conftest import SECRET, unavailable
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import last_receipts
from tests.lab.sender.sender import Sender
from tests.lab.stack.pgbouncer import start_pgbouncer
from tests.lab.stack.servers import Server, ServerUnavailableError
from tests.support.processes import running, until
from tests.support.rows import rows
from tests.system.test_pipeline import PATH, is_all_settled, webhooks_of

BOTS = 60
ROLE, PASSWORD = "app", "app-password"
# Debian's package as it comes, and what people set where a client's `options` are refused. The
# newest release differs in what a client of ours does not do: it keeps prepared statements.
KINDS: dict[str, dict[str, str]] = {
    "stock": {},
    "options ignored": {"ignore_startup_parameters": "options,extra_float_digits"},
}


@contextmanager
def pooled(server: Server, **settings: str) -> Iterator[str]:
    """A database that belongs to a role that is nobody special, behind a pooler."""
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        admin.execute(f"CREATE DATABASE pooled OWNER {ROLE} TEMPLATE template0 ENCODING 'UTF8'")
    url = make_url(server.url).set(database="pooled").render_as_string(hide_password=False)
    # Not in pytest's folders: started by root it runs as nobody, who cannot walk into those.
    with tempfile.TemporaryDirectory(prefix="recall-links-") as folder:
        try:
            users = {ROLE: PASSWORD}
            pooler = start_pgbouncer(Path(folder), url, users, pool_mode="transaction", **settings)
        except ServerUnavailableError as error:
            unavailable(error)
            raise
        yield pooler.url
        pooler.stop()


@pytest.fixture(params=KINDS)
def pooler_url(request: pytest.FixtureRequest, own_postgres: Server) -> Iterator[str]:
    """The URL of an empty database behind each kind of PgBouncer."""
    with pooled(own_postgres, **KINDS[request.param]) as url:
        yield url


def engine_of(url: str, mode: Mode = "write") -> Engine:
    """An engine as the service makes it."""
    return make_engine(Settings.read({"DATABASE_URL": url}), mode)


@pytest.mark.timeout(300)
def test_the_whole_service_works_through_a_pooler(
    pooler_url: str, own_redis: Server, tmp_path: Path
) -> None:
    """Release, web and two workers: every webhook taken at once, every link made once."""
    with (
        FakeRecall(limits=False) as recall,
        running(
            pooler_url,
            recall,
            tmp_path,
            workers=2,
            REDIS_URL=own_redis.url,
            RECALL_RATE_SHARE=100_000,
        ) as stack,
    ):
        webhooks = webhooks_of(recall, BOTS, seed=5)
        receipts = Sender(f"{stack.url}{PATH}", [SECRET], connections=8).run(webhooks)
        engine = engine_of(pooler_url)
        until(lambda: is_all_settled(engine, BOTS), "every link")
        expected = {
            (bot.id, ref.id) for bot in recall.world.bots.values() for ref in bot.calendar_meetings
        }
        words = stack.web.log.read_text() + "".join(one.log.read_text() for one in stack.workers)
    assert {receipt.status for receipt in receipts} <= {200, 202}
    assert {row.id for row in rows(engine, Delivery)} == set(last_receipts(receipts))
    assert {(link.bot_id, link.meeting_id) for link in rows(engine, Link)} == expected
    engine.dispose()
    assert "database away" not in words
    assert "not stored" not in words
