"""The whole pipeline, as deployed: signed webhooks in, links in SQL, nothing lost or told."""

import random
import re
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, make_url, text

from models.tables.bot import Bot
from models.tables.delivery import Delivery
from models.tables.link import Link
from tests.conftest import SECRET, new_database
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery as Webhook
from tests.lab.sender.deliveries import duplicated, last_receipts, shuffled
from tests.lab.sender.events import lifecycle
from tests.lab.sender.sender import Sender, compressed
from tests.lab.sender.signing import new_secret
from tests.lab.stack.servers import Server
from tests.lab.stack.stack import Stack
from tests.support.processes import running, until
from tests.support.rows import count, rows

PATH = "/webhooks/recall"


def webhooks_of(recall: FakeRecall, bots: int, seed: int) -> list[Webhook]:
    """The lives of so many bots, in both generations and families, doubled and shuffled."""
    rng = random.Random(seed)
    webhooks = [
        Webhook.of(event, family=rng.choice(("svix", "webhook")))
        for bot in recall.build.populate(bots)
        for event in lifecycle(bot, generation=rng.choice(("legacy", "v1.11")), noise=True)
    ]
    return shuffled(duplicated(webhooks, 0.2, rng), rng)


def is_all_settled(engine: Engine, bots: int) -> bool:
    """Whether every bot's last word has been linked."""
    found = rows(engine, Bot)
    return len(found) == bots and all(row.sealed_at and row.due_at is None for row in found)


def test_lives_of_bots_become_links(
    engine: Engine, database_url: str, own_redis: Server, tmp_path: Path
) -> None:
    """Each webhook stored once, each bot linked once to each of its meetings, by two workers."""
    bots = 25
    with (
        FakeRecall(limits=False) as recall,
        running(
            database_url,
            recall,
            tmp_path,
            workers=2,
            REDIS_URL=own_redis.url,
            RECALL_RATE_SHARE=100_000,
            LOG_LEVEL="DEBUG",
        ) as stack,
    ):
        recall.faults.add(Fault(status=503, probability=0.1, path="bot/{id}"))
        webhooks = webhooks_of(recall, bots, seed=11)
        receipts = Sender(f"{stack.url}{PATH}", [SECRET], connections=8).run(webhooks)
        until(lambda: is_all_settled(engine, bots), "every link")
        world = recall.world
        expected = {
            (bot.id, ref.id) for bot in world.bots.values() for ref in bot.calendar_meetings
        }
        secrets = [recall.api_key, SECRET.removeprefix("whsec_"), *world.tokens]
    answers = last_receipts(receipts)
    assert all(receipt.is_taken for receipt in answers.values())
    assert {row.id for row in rows(engine, Delivery)} == set(answers)
    assert sum(row.copies for row in rows(engine, Delivery)) == len(webhooks)
    assert {(link.bot_id, link.meeting_id) for link in rows(engine, Link)} == expected
    assert {row.status for row in rows(engine, Bot)} == {"done"}
    assert_no_secret_was_told(stack, tmp_path, secrets)


def assert_no_secret_was_told(stack: Stack, folder: Path, secrets: list[str]) -> None:
    """No log of a full run holds a key, a signing secret or a calendar token."""
    logs = "".join(path.read_text() for path in folder.glob("*.log"))
    assert len(logs) > 1000
    assert all(len(secret) > 8 for secret in secrets)
    assert [secret for secret in secrets if secret in logs] == []
    assert not re.search(r"whsec_[A-Za-z0-9+/]{8}|\beyJ|postgres:[^…]", logs)


def test_a_calendar_token_is_nowhere_in_the_database(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """Encrypted in its table, and in no other."""
    with (
        FakeRecall() as recall,
        running(database_url, recall, tmp_path, SWEEP_SECONDS=0.2) as stack,
    ):
        webhooks = webhooks_of(recall, 2, seed=3)
        Sender(f"{stack.url}{PATH}", [SECRET]).run(webhooks)
        until(lambda: is_all_settled(engine, 2), "every link")
        tokens = list(recall.world.tokens)
    assert tokens
    dump = database_dump(engine)
    assert "crew" in dump or "person" in dump
    assert [token for token in tokens if token in dump] == []


def database_dump(engine: Engine) -> str:
    """Every value of every table, as text."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            names = text("SELECT name FROM sqlite_master WHERE type = 'table'")
        else:
            names = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = connection.scalars(names).all()
        dumps = [connection.execute(text(f"SELECT * FROM {t}")).all() for t in tables]  # noqa: S608
    return str(dumps)


def test_a_secret_is_rotated_under_load_without_a_refusal(
    database_url: str, engine: Engine, tmp_path: Path
) -> None:
    """Both are set, the sender changes from one to the other in mid-run, and back again."""
    new = new_secret()
    both = f"{SECRET},{new}"
    with (
        FakeRecall() as recall,
        running(database_url, recall, tmp_path, RECALL_WEBHOOK_SECRETS=both) as stack,
    ):
        webhooks = webhooks_of(recall, 6, seed=5)
        rotations = {len(webhooks) // 3: [SECRET, new], len(webhooks) // 2: [new]}
        sender = Sender(f"{stack.url}{PATH}", [SECRET], rotations=rotations, junk=True)
        receipts = sender.run(webhooks)
    assert {receipt.status for receipt in receipts} <= {200, 202}
    assert len({row.secret_fingerprint for row in rows(engine, Delivery)}) == 2


def test_with_no_redis_at_all_everything_is_linked(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """One laptop with nothing installed: the sweep alone."""
    with (
        FakeRecall() as recall,
        running(database_url, recall, tmp_path, SWEEP_SECONDS=0.3) as stack,
    ):
        webhooks = webhooks_of(recall, 4, seed=9)
        sender = Sender(f"{stack.url}{PATH}", [SECRET], retries=compressed(0.01))
        sender.run(webhooks)
        until(lambda: is_all_settled(engine, 4), "every link")
        assert "this worker runs the poller only" in stack.workers[0].log.read_text()
    assert count(engine, Link) > 0


def test_a_dyno_takes_webhooks_through_its_router(
    request: pytest.FixtureRequest, own_redis: Server, tmp_path: Path
) -> None:
    """With postgres:// as Heroku says it, a router's headers, and a name in DYNO."""
    server_url = request.getfixturevalue("postgres_url")
    template = request.getfixturevalue("postgres_template")
    dyno: dict[str, Any] = {"DYNO": "web.1", "WEB_THREADS": 4, "REDIS_URL": own_redis.url}
    with (
        new_database(server_url, template) as url,
        FakeRecall() as recall,
        running(url.replace("postgresql://", "postgres://"), recall, tmp_path, **dyno) as stack,
    ):
        (webhook, *_) = webhooks_of(recall, 1, seed=1)
        sender = Sender(f"{stack.url}{PATH}", [SECRET])
        router = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        headers = sender.headers(webhook) | router
        answer = httpx.post(f"{stack.url}{PATH}", content=webhook.body, headers=headers)
        assert answer.status_code in (200, 202)


def test_the_views_tell_what_came_of_it(database_url: str, engine: Engine, tmp_path: Path) -> None:
    """Psql and sqlite3 are enough to ask."""
    with (
        FakeRecall() as recall,
        running(database_url, recall, tmp_path, SWEEP_SECONDS=0.3) as stack,
    ):
        webhooks = webhooks_of(recall, 3, seed=2)
        Sender(f"{stack.url}{PATH}", [SECRET]).run(webhooks)
        until(lambda: is_all_settled(engine, 3), "every link")
    with engine.connect() as connection:
        links = connection.execute(text("SELECT * FROM bot_links")).mappings().all()
        log = connection.execute(text("SELECT * FROM delivery_log")).all()
        unlinked = connection.execute(text("SELECT bot_id FROM unlinked_bots")).all()
    assert all(link["meeting_title"] and link["bot_status"] == "done" for link in links)
    assert len(log) == count(engine, Delivery)
    assert len(links) == count(engine, Link)
    assert {row.bot_id for row in unlinked} == {
        row.id for row in rows(engine, Bot) if row.link_state != "linked"
    }
    if engine.dialect.name == "sqlite":
        path = str(make_url(database_url).database)
        with sqlite3.connect(path) as plain:
            assert len(plain.execute("SELECT * FROM bot_links").fetchall()) == len(links)
        plain.close()
