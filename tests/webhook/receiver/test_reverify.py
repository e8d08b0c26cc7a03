"""Refused requests looked at again: what a mended secret or clock proves enters as if it came."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert, select, update
from werkzeug.test import TestResponse

from models.settings.environment import Settings
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.delivery import Delivery
from models.tables.link import Link
from models.tables.rejection import Rejection
from tests.conftest import SECRET, MakeSettings
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery as Webhook
from tests.lab.sender.events import lifecycle
from tests.lab.sender.sender import Sender
from tests.lab.sender.signing import new_secret, sign
from tests.support.fakes import BOT
from tests.support.processes import environ_for, running, until
from tests.support.rows import count, rows
from webhook.app import create_app, resources_of
from webhook.receiver.reverify import BATCH, Reverified, reverify, unresolved
from webhook.receiver.storage import Inbox

PATH = "/webhooks/recall"
ROOT = Path(__file__).parents[3]

Check = Callable[..., Reverified]


@pytest.fixture
def check(make_settings: MakeSettings, engine: Engine) -> Iterator[Check]:
    """Re-check the ledger with the settings given, the mended secret unless told otherwise."""
    opened: list[Inbox] = []

    def run(**environ: object) -> Reverified:
        settings = make_settings(**environ)
        opened.append(Inbox(settings))
        return reverify(settings, engine, opened[-1])

    yield run
    for inbox in opened:
        inbox.close()


@contextmanager
def a_client(settings: Settings) -> Iterator[FlaskClient]:
    """The application with these settings; what it refused is on file when it ends."""
    app = create_app(settings)
    yield app.test_client()
    resources_of(app).close()


def post(
    client: FlaskClient,
    body: bytes = b'{"event":"recording.done","data":{}}',
    message_id: str = "msg_1",
    age: int = 0,
    secret: str = SECRET,
) -> TestResponse:
    """Post a signed body."""
    headers = sign(message_id, body, [secret], timestamp=int(time.time()) - age, family="webhook")
    return client.post(PATH, data=body, headers=headers)


def test_what_a_mended_secret_proves_enters_as_if_it_had_just_come(
    make_settings: MakeSettings, engine: Engine, check: Check
) -> None:
    """The same row that the right secret would have made, and the refusal is resolved."""
    body = json.dumps(lifecycle(BOT, generation="legacy")[-1]).encode()
    with a_client(make_settings(RECALL_WEBHOOK_SECRETS=new_secret())) as client:
        assert post(client, body).status_code == 401
    assert check() == Reverified(looked_at=1, accepted=1, refused=0)
    (row,) = rows(engine, Delivery)
    assert (row.id, row.outcome, row.bot_id, row.code) == ("msg_1", "accepted", BOT, "done")
    assert (row.body, row.copies, row.applied_at) == (body, 1, None)
    assert rows(engine, Rejection)[0].resolved_at is not None


def test_a_second_check_finds_nothing_to_do(
    make_settings: MakeSettings, engine: Engine, check: Check
) -> None:
    """What was resolved is not looked at again, and no copy is counted."""
    with a_client(make_settings(RECALL_WEBHOOK_SECRETS=new_secret())) as client:
        post(client)
    check()
    assert check() == Reverified()
    assert rows(engine, Delivery)[0].copies == 1


def test_a_message_the_sender_repeats_is_only_a_copy(
    make_settings: MakeSettings, engine: Engine, check: Check
) -> None:
    """Before the re-check or after it: the message id is one row."""
    with a_client(make_settings(RECALL_WEBHOOK_SECRETS=new_secret())) as client:
        post(client, message_id="before")
        post(client, message_id="after")
    with a_client(make_settings()) as client:
        assert post(client, message_id="before").json == {
            "outcome": "ignored",
            "delivery": "before",
        }
        assert check().accepted == 2
        assert post(client, message_id="after").json == {
            "outcome": "duplicate",
            "delivery": "after",
        }
    assert {row.id: row.copies for row in rows(engine, Delivery)} == {"before": 2, "after": 2}


def test_the_tolerance_counts_from_when_it_was_received(
    make_settings: MakeSettings, engine: Engine, check: Check
) -> None:
    """Not from now: a check hours later takes what was fresh then, and nothing that was not."""
    with a_client(make_settings(RECALL_WEBHOOK_SECRETS=new_secret())) as client:
        for name, age in (("fresh", 200), ("stale", 400), ("early", -400)):
            post(client, message_id=name, age=age)
    assert check(RECALL_WEBHOOK_SECRETS=new_secret()).accepted == 0
    assert check() == Reverified(looked_at=3, accepted=1, refused=2)
    assert [row.id for row in rows(engine, Delivery)] == ["fresh"]


def test_what_a_wrong_clock_refused_is_taken_by_the_databases(
    make_settings: MakeSettings, engine: Engine, check: Check
) -> None:
    """The web process was an hour ahead; the ledger's times were not."""
    app = create_app(make_settings(), clock=lambda: time.time() + 3600)
    answer = post(app.test_client())
    resources_of(app).close()
    assert (answer.status_code, answer.json) == (
        401,
        {"error": "unverified", "reason": "stale_timestamp"},
    )
    assert check().accepted == 1


def test_an_old_message_replayed_by_a_stranger_stays_refused(
    make_settings: MakeSettings, engine: Engine, check: Check
) -> None:
    """Rightly signed once, and captured: it was stale when it came, and is for ever."""
    with a_client(make_settings()) as client:
        assert post(client, age=3600).status_code == 401
    assert check() == Reverified(looked_at=1, accepted=0, refused=1)
    assert count(engine, Delivery) == 0


def test_a_tampered_body_stays_refused(
    make_settings: MakeSettings, engine: Engine, check: Check
) -> None:
    """The ledger is no way around the signature."""
    with a_client(make_settings(RECALL_WEBHOOK_SECRETS=new_secret())) as client:
        post(client)
    with engine.begin() as connection:
        connection.execute(update(Rejection).values(body=b'{"event":"recording.gone","data":{}}'))
    assert check().accepted == 0
    assert count(engine, Delivery) == 0


def test_a_body_that_was_not_kept_is_not_looked_at(
    make_settings: MakeSettings, engine: Engine, check: Check
) -> None:
    """Over 64 KiB: half a body proves nothing."""
    with a_client(make_settings(RECALL_WEBHOOK_SECRETS=new_secret())) as client:
        assert post(client, b" " * 70_000).status_code == 401
    assert count(engine, Rejection) == 1
    assert check() == Reverified()


def test_a_malformed_body_is_taken_in_as_such(
    make_settings: MakeSettings, engine: Engine, check: Check
) -> None:
    """The evidence is kept, as if the receiver had taken it."""
    with a_client(make_settings(RECALL_WEBHOOK_SECRETS=new_secret())) as client:
        post(client, b"\xff not JSON")
    assert check().accepted == 1
    assert rows(engine, Delivery)[0].outcome == "malformed"


def test_many_are_looked_at_in_batches_and_told_one_by_one(
    engine: Engine, make_settings: MakeSettings
) -> None:
    """For a progress bar: it ends at the count it was told to expect."""
    row = {"reason": "missing_header", "headers": {}, "body": b"{}"}
    with engine.begin() as connection:
        now = connection.scalar(select(db_now()))
        connection.execute(insert(Rejection), [{"received_at": now, **row}] * (BATCH + 5))
        expected = unresolved(connection)
    told: list[int] = []
    settings = make_settings()
    inbox = Inbox(settings)
    done = reverify(settings, engine, inbox, told.append)
    inbox.close()
    assert told == list(range(1, BATCH + 6))
    assert done.refused == expected == told[-1]
    assert count(engine, Delivery) == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_from_a_wrong_secret_to_links(engine: Engine, database_url: str, tmp_path: Path) -> None:
    """As deployed: refused, the secret mended, one command, and the bot is linked."""
    with FakeRecall(limits=False) as recall:
        bot = recall.build.bot([recall.build.meeting(recall.build.user())])
        webhooks = [Webhook.of(event) for event in lifecycle(bot)]
        wrong: dict[str, Any] = {"RECALL_WEBHOOK_SECRETS": new_secret(), "SWEEP_SECONDS": 0.3}
        with running(database_url, recall, tmp_path, **wrong) as stack:
            receipts = Sender(f"{stack.url}{PATH}", [SECRET]).run(webhooks)
            assert {receipt.status for receipt in receipts} == {401}
            until(lambda: count(engine, Rejection) == len(webhooks), "the ledger")
            assert count(engine, Bot) == 0
            done = command(environ_for(database_url, recall), "reverify", "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout) == {
                "looked_at": len(webhooks),
                "accepted": len(webhooks),
                "refused": 0,
            }
            until(lambda: is_linked(engine, bot.id), "the link")
    assert {(link.bot_id, link.meeting_id) for link in rows(engine, Link)} == {
        (bot.id, bot.calendar_meetings[0].id)
    }


def command(environ: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line as an operator does."""
    return subprocess.run(
        [sys.executable, "-m", "webhook.cli.main", *words],
        cwd="/",
        env=environ | {"PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def is_linked(engine: Engine, bot_id: str) -> bool:
    """Whether nothing of this bot is owed any more."""
    return any(row.sealed_at and row.due_at is None for row in rows(engine, Bot, id=bot_id))
