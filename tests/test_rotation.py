"""A signing secret's whole rotation, as the README tells it, restarts included, under load."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine

from models.delivery import Delivery
from tests.conftest import SECRET
from tests.lab.deliveries import Delivery as Webhook
from tests.lab.deliveries import last_receipts
from tests.lab.recall import FakeRecall
from tests.lab.sender import Sender
from tests.lab.signing import new_secret
from tests.rows import count, rows
from tests.running import environ_for, until, web_alone

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
    sender = Sender(address, [old], rate=80, retries=[0.2] * 150)
    webhooks = [Webhook.of({"event": "calendar.update", "data": {"n": n}}) for n in range(260)]

    def wait_for_more(number: int) -> None:
        wanted = count(engine, Delivery) + number
        until(lambda: count(engine, Delivery) >= wanted, f"{number} more")

    with ThreadPoolExecutor(1) as pool:
        with web_alone(environ | {NAME: old}, tmp_path):
            sent = pool.submit(sender.run, webhooks)
            wait_for_more(25)
        with web_alone(environ | {NAME: f"{new},{old}"}, tmp_path):
            wait_for_more(25)
            # For a day after a rotation Recall's sender signs with both.
            sender.secrets = [new, old]
            wait_for_more(25)
            sender.secrets = [new]
            # What was signed with the old one has been answered by then.
            wait_for_more(25)
        with web_alone(environ | {NAME: new}, tmp_path):
            receipts = sent.result(90)
    answers = {receipt.status for receipt in receipts}
    # 0 is no answer, while nobody listened: the sender comes again.
    assert answers - {0} <= {200, 202}
    assert all(receipt.is_taken for receipt in last_receipts(receipts).values())
    stored = rows(engine, Delivery)
    assert len(stored) == len(webhooks)
    assert len({row.secret_fingerprint for row in stored}) == 2
