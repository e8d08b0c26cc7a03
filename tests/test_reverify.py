"""Refused requests looked at again: what a mended secret or clock proves comes in, nothing else."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update

from models.base import db_now
from models.delivery import Delivery
from models.ledger import Rejection
from models.settings import Settings
from tests.conftest import SECRET, MakeSettings
from tests.fakes import BOT
from tests.lab.signing import new_secret, sign
from tests.rows import count, rows
from webhook.inbox import Inbox
from webhook.reverify import BATCH, Reverified, reverify, unresolved


@pytest.fixture
def inbox(make_settings: MakeSettings) -> Iterator[Inbox]:
    """Where what is proved goes."""
    inbox = Inbox(make_settings())
    yield inbox
    inbox.close()


def a_body(code: str = "done") -> bytes:
    """A webhook of the newer generation."""
    at = "2026-11-20T10:00:00Z"
    data = {"data": {"code": code, "sub_code": None, "updated_at": at}, "bot": {"id": BOT}}
    return json.dumps({"event": f"bot.{code}", "data": data}).encode()


def refuse(
    engine: Engine,
    message_id: str,
    body: bytes | None = None,
    *,
    secret: str = SECRET,
    signed_ago: float = 0.0,
    received_ago: float = 0.0,
    **fields: Any,
) -> None:
    """Keep a refused request: signed, and received, so many seconds ago."""
    raw = a_body() if body is None else body
    headers = sign(message_id, raw, [secret], timestamp=int(time.time() - signed_ago))
    row = {"reason": "no_matching_signature", "headers": headers, "body": raw} | fields
    with engine.begin() as connection:
        connection.execute(insert(Rejection).values(received_at=db_now(-received_ago), **row))


def run(engine: Engine, settings: Settings, inbox: Inbox) -> Reverified:
    """Check everything again."""
    return reverify(settings, engine, inbox)


def test_what_a_new_secret_proves_comes_in_and_the_rest_stays(
    engine: Engine, make_settings: MakeSettings, inbox: Inbox
) -> None:
    """As if it had just come: verbatim, classified, and due to be applied."""
    mended = new_secret()
    refuse(engine, "msg_1", secret=mended)
    refuse(engine, "msg_2", secret=new_secret())
    settings = make_settings(RECALL_WEBHOOK_SECRETS=f"{SECRET},{mended}")
    assert run(engine, settings, inbox) == Reverified(looked_at=2, accepted=1, refused=1)
    (delivery,) = rows(engine, Delivery)
    assert (delivery.id, delivery.outcome, delivery.bot_id) == ("msg_1", "accepted", BOT)
    assert (delivery.body, delivery.applied_at) == (a_body(), None)
    assert delivery.secret_fingerprint == settings.recall_webhook_secrets[1].fingerprint
    assert [row.resolved_at is not None for row in rows(engine, Rejection)] == [True, False]


def test_the_tolerance_counts_from_when_it_was_received(
    engine: Engine, make_settings: MakeSettings, inbox: Inbox
) -> None:
    """A request of yesterday that was fresh then is fresh; one that was stale then is stale."""
    day = 86_400.0
    refuse(engine, "msg_fresh", signed_ago=day, received_ago=day)
    refuse(engine, "msg_stale", signed_ago=day + 400, received_ago=day)
    assert run(engine, make_settings(), inbox).accepted == 1
    assert [row.id for row in rows(engine, Delivery)] == ["msg_fresh"]


def test_what_is_already_stored_is_a_copy(
    engine: Engine, make_settings: MakeSettings, inbox: Inbox
) -> None:
    """Recall brought it again meanwhile, or a crash came between: nothing is doubled."""
    for _ in range(2):
        refuse(engine, "msg_1")
    assert run(engine, make_settings(), inbox).accepted == 2
    (delivery,) = rows(engine, Delivery)
    assert delivery.copies == 2
    assert run(engine, make_settings(), inbox) == Reverified()


def test_what_cannot_be_checked_is_passed_over(
    engine: Engine, make_settings: MakeSettings, inbox: Inbox
) -> None:
    """A body that was too large to keep, and what was resolved before."""
    refuse(engine, "msg_1")
    with engine.begin() as connection:
        connection.execute(update(Rejection).values(body=None))
    refuse(engine, "msg_2", resolved_at=db_now())
    with engine.connect() as connection:
        assert unresolved(connection) == 0
    assert run(engine, make_settings(), inbox).looked_at == 0


def test_malformed_bodies_come_in_as_such(
    engine: Engine, make_settings: MakeSettings, inbox: Inbox
) -> None:
    """The evidence is kept, as if the receiver had taken it."""
    refuse(engine, "msg_1", body=b"\xff not JSON")
    assert run(engine, make_settings(), inbox).accepted == 1
    assert rows(engine, Delivery)[0].outcome == "malformed"


def test_many_are_looked_at_in_batches_and_told_one_by_one(
    engine: Engine, make_settings: MakeSettings, inbox: Inbox
) -> None:
    """For a progress bar: it ends at the count it was told to expect."""
    row = {"reason": "missing_header", "headers": {}, "body": b"{}"}
    with engine.begin() as connection:
        now = connection.scalar(select(db_now()))
        connection.execute(insert(Rejection), [{"received_at": now, **row}] * (BATCH + 5))
        expected = unresolved(connection)
    told: list[int] = []
    done = reverify(make_settings(), engine, inbox, told.append)
    assert told == list(range(1, BATCH + 6))
    assert done.refused == expected == told[-1]
    assert count(engine, Delivery) == 0
