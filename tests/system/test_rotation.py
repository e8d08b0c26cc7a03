"""A signing secret's whole rotation, as docs/deployment.md tells it: with restarts, under load."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine

from models.tables.delivery import Delivery
from tests.conftest import SECRET
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery as Webhook
from tests.lab.sender.deliveries import Receipt, last_receipts
from tests.lab.sender.sender import Sender
from tests.lab.sender.signing import new_secret
from tests.support.processes import environ_for, until, web_alone
from tests.support.rows import count, rows

NAME = "RECALL_WEBHOOK_SECRETS"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_rotation_with_its_restarts_refuses_nothing(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """The old one, both, the new one: three web processes, one sender that never pauses."""
    old, new = SECRET, new_secret()
    with FakeRecall() as recall:
        environ = environ_for(database_url, recall)
    address = f"http://127.0.0.1:{environ['PORT']}/webhooks/recall"
    sender = Sender(address, [old], rate=60, retries=[0.2] * 300)
    is_over = threading.Event()

    def wait_for_more() -> None:
        wanted = count(engine, Delivery) + 25
        until(lambda: count(engine, Delivery) >= wanted, "25 more")

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(keep_sending, sender, is_over)
        with web_alone(environ | {NAME: old}, tmp_path):
            wait_for_more()
        with web_alone(environ | {NAME: f"{new},{old}"}, tmp_path):
            # For a day after a rotation Recall's sender signs with both.
            for secrets in ([old], [new, old], [new]):
                sender.secrets = secrets
                # What was signed before has been answered by then.
                wait_for_more()
        with web_alone(environ | {NAME: new}, tmp_path):
            wait_for_more()
            is_over.set()
            receipts = sent.result(60)
    answers = {receipt.status for receipt in receipts}
    # 0 is no answer, while nobody listened: the sender comes again.
    assert answers - {0} <= {200, 202}
    assert all(receipt.is_taken for receipt in last_receipts(receipts).values())
    stored = rows(engine, Delivery)
    assert {row.id for row in stored} == {each.delivery.message_id for each in receipts}
    assert len({row.secret_fingerprint for row in stored}) == 2


def keep_sending(sender: Sender, is_over: threading.Event) -> list[Receipt]:
    """Send webhooks, ten at a time, each until it is taken; returns what came of every attempt."""
    receipts: list[Receipt] = []
    while not is_over.is_set():
        event = {"event": "calendar.update", "data": {}}
        receipts += sender.run([Webhook.of(event) for _ in range(10)])
    return receipts
