"""The sender signs as Svix does and delivers as Svix might."""

import asyncio
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook as StandardWebhook
from svix.webhooks import Webhook, WebhookVerificationError

from tests.lab.faults.hostile import (
    forged,
    future,
    half_sent,
    mixed,
    post,
    stale,
    two_families,
    without,
)
from tests.lab.http.wire import Request, Response
from tests.lab.sender.deliveries import (
    Delivery,
    delayed,
    duplicated,
    last_receipts,
    shuffled,
    statuses,
)
from tests.lab.sender.receiver import Receiver
from tests.lab.sender.sender import SVIX_SCHEDULE, Sender, compressed
from tests.lab.sender.signing import JUNK, Family, new_secret, sign, signature
from tests.lab.world.clock import ManualClock

AT = 1_780_000_123
BODIES = [b"", b"{}", b'{"event":"bot.done"}', '{"n":"\u00e9\u4e16"}'.encode(), b" " * 70_000]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Yield a receiver that takes everything."""
    with Receiver() as server:
        yield server


@pytest.mark.parametrize("body", BODIES)
def test_a_signature_is_what_svix_and_standard_webhooks_compute(body: bytes) -> None:
    """Both packages sign the same message to the same text."""
    secret = new_secret()
    when, text = datetime.fromtimestamp(AT, UTC), body.decode()
    mine = signature(secret, "msg_lab_1", str(AT), body)
    assert mine == Webhook(secret).sign("msg_lab_1", when, text)
    assert mine == StandardWebhook(secret).sign("msg_lab_1", when, text)


def test_headers_verify_with_either_package() -> None:
    """Signed now, both families pass Svix's own verification and a changed body does not."""
    secret, body = new_secret(), b'{"event":"bot.call_ended"}'
    now = int(datetime.now(UTC).timestamp())
    svix = sign("msg_lab_2", body, [secret], timestamp=now)
    standard = sign("msg_lab_2", body, [secret], timestamp=now, family="webhook")
    Webhook(secret).verify(body, svix)
    Webhook(secret).verify(body, standard)
    StandardWebhook(secret).verify(body, standard)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", svix)


def test_a_rotation_carries_a_signature_per_secret_among_junk() -> None:
    """Old and new secret both verify; what is no v1 entry comes along."""
    old, new = new_secret(), new_secret()
    now = int(datetime.now(UTC).timestamp())
    headers = sign("msg_lab_3", b"{}", [old, new], timestamp=now, junk=True)
    entries = headers["svix-signature"].split(" ")
    assert entries[:2] == list(JUNK)
    assert len(entries) == 4
    for secret in (old, new):
        Webhook(secret).verify(b"{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(b"{}", headers)


@pytest.mark.parametrize("family", ["svix", "webhook"])
def test_every_delivery_arrives_verbatim_and_signed(receiver: Receiver, family: Family) -> None:
    """Body, id and content type reach the receiver; a receipt says what it answered."""
    secret = new_secret()
    deliveries = [Delivery.of({"n": n}, family=family) for n in range(50)]
    receipts = Sender(receiver.url + "/hook?x=1", [secret], connections=3).run(deliveries)
    assert statuses(receipts) == {202: 50}
    assert all(receipt.is_taken and receipt.reply.body == b"{}" for receipt in receipts)
    arrived = {request.headers[f"{family}-id"]: request for request in receiver.requests}
    for delivery in deliveries:
        request = arrived[delivery.message_id]
        assert (request.body, request.target) == (delivery.body, "/hook?x=1")
        assert request.headers["content-type"] == "application/json"
        Webhook(secret).verify(request.body, request.headers)
    assert len({request.peer[1] for request in receiver.requests}) <= 3


def test_tls_receivers_can_be_reached(tmp_path: Path) -> None:
    """Https works with the receiver's own authority and is an error without it."""
    with Receiver(tls_ca=tmp_path / "ca.pem") as receiver:
        delivery = Delivery.of({})
        assert Sender(receiver.url, [], ca_file=receiver.tls_ca).send(delivery).status == 202
        receipt = Sender(receiver.url, []).send(delivery)
    assert receipt.status == 0
    assert "SSL" in (receipt.reply.error or "")


def test_what_is_not_taken_is_sent_again_newly_signed(receiver: Receiver) -> None:
    """The id stays, the timestamp and signature are those of the attempt."""
    clock = ManualClock()

    def refuse_twice(request: Request) -> Response:
        clock.advance(10)
        return Response(503 if len(receiver.requests) < 3 else 202)

    receiver.react = refuse_twice
    sender = Sender(receiver.url, [new_secret()], retries=compressed(1e-6), clock=clock)
    delivery = Delivery.of({"event": "bot.done"})
    receipts = sender.run([delivery])
    assert [(receipt.attempt, receipt.status) for receipt in receipts] == [
        *((1, 503), (2, 503), (3, 202)),
    ]
    ids = {request.headers["svix-id"] for request in receiver.requests}
    stamps = {request.headers["svix-timestamp"] for request in receiver.requests}
    assert ids == {delivery.message_id}
    assert len(stamps) == 3


def test_retries_end_with_their_schedule(receiver: Receiver) -> None:
    """After the last of the schedule the message is given up; an abort ends it at once."""
    receiver.react = lambda _: Response(302)
    sender = Sender(receiver.url, [], retries=compressed(1e-6))
    receipts = sender.run([Delivery.of({})])
    assert len(receipts) == len(SVIX_SCHEDULE) + 1
    receiver.react = lambda _: Response(500, headers=[("webhook-delivery", "abort-message")])
    assert len(sender.run([Delivery.of({})])) == 1


def test_a_receiver_that_is_not_there_is_status_0() -> None:
    """No network error is raised; the receipt names it."""
    with Receiver() as receiver:
        url = receiver.url
    (receipt,) = Sender(url, [], retries=()).run([Delivery.of({})])
    assert (receipt.status, receipt.is_taken) == (0, False)
    assert "ConnectionRefused" in (receipt.reply.error or "")


def test_a_receiver_that_hangs_times_out(receiver: Receiver) -> None:
    """After the sender's time-out nothing more is waited for."""

    async def never() -> None:
        await asyncio.Event().wait()

    receiver.react = lambda _: never()
    (receipt,) = Sender(receiver.url, [], timeout=0.05).run([Delivery.of({})])
    assert "Timeout" in (receipt.reply.error or "")


def test_secrets_rotate_in_mid_run(receiver: Receiver) -> None:
    """From the n-th delivery on the new secrets sign."""
    old, new = new_secret(), new_secret()
    rotations = {5: [old, new], 8: [new]}
    sender = Sender(receiver.url, [old], connections=1, rotations=rotations)
    sender.run([Delivery.of({"n": n}) for n in range(10)])
    counts = [request.headers["svix-signature"].count("v1,") for request in receiver.requests]
    assert counts == [1] * 5 + [2] * 3 + [1] * 2
    last = receiver.requests[-1]
    Webhook(new).verify(last.body, last.headers)
    assert sender.secrets == [new]


def test_a_rate_paces_and_a_delay_holds_back(receiver: Receiver) -> None:
    """A delayed delivery lets the ones behind it pass."""
    first, second = Delivery.of({"n": 1}, delay=0.05), Delivery.of({"n": 2})
    receipts = Sender(receiver.url, [], connections=1, rate=10_000).run([first, second])
    assert [receipt.delivery for receipt in receipts] == [second, first]


def test_deliveries_can_be_duplicated_shuffled_and_delayed() -> None:
    """Seeded alike they come out alike; nothing is lost and a copy follows its original."""
    deliveries = [Delivery.of({"n": n}) for n in range(100)]
    twice = duplicated(deliveries, 0.3, random.Random(1))
    assert twice == duplicated(deliveries, 0.3, random.Random(1))
    assert 110 < len(twice) < 150
    firsts = list(dict.fromkeys(twice))
    assert firsts == deliveries
    mixed_up = shuffled(twice, random.Random(2))
    assert mixed_up != twice
    assert sorted(d.message_id for d in mixed_up) == sorted(d.message_id for d in twice)
    assert all(0 <= d.delay <= 2 for d in delayed(deliveries, 2, random.Random(3)))


def test_the_last_receipt_of_a_message_counts(receiver: Receiver) -> None:
    """A duplicate has the id of its original."""
    delivery = Delivery.of({})
    receipts = Sender(receiver.url, []).run([delivery, delivery])
    assert len(receipts) == 2
    assert list(last_receipts(receipts)) == [delivery.message_id]


def test_hostile_headers_are_what_they_say() -> None:
    """Only the clock keeps stale and future ones out; the others do not verify."""
    secret, now = new_secret(), int(datetime.now(UTC).timestamp())
    delivery = Delivery.of({"event": "bot.done"})
    for headers in (
        forged(delivery, now=now),
        stale(delivery, secret, now=now),
        future(delivery, secret, now=now),
        *(
            without(sign(delivery.message_id, delivery.body, [secret], timestamp=now), part)
            for part in ("id", "timestamp", "signature")
        ),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(delivery.body, headers)
    assert set(mixed(delivery, secret, now=now)) == {
        *("webhook-id", "svix-timestamp", "svix-signature"),
    }
    both = two_families(delivery, secret, now=now)
    assert len(both) == 6
    StandardWebhook(secret).verify(delivery.body, both)


def test_any_headers_can_be_posted_and_a_post_can_stop_halfway(receiver: Receiver) -> None:
    """A half-sent POST is no request; the receiver goes on answering others."""
    delivery = Delivery.of({"event": "bot.done"})
    with half_sent(receiver.url, delivery, {"svix-id": "x"}):
        reply = asyncio.run(post(receiver.url, b"\xff", {"svix-id": "y"}))
    assert reply.status == 202
    assert [request.headers["svix-id"] for request in receiver.requests] == ["y"]


def test_a_body_is_compact_json() -> None:
    """An event becomes the bytes that are signed."""
    assert Delivery.of({"event": "x", "data": {}}).body == b'{"event":"x","data":{}}'
    assert json.loads(Delivery.of({"title": "\u00e9"}).body) == {"title": "\u00e9"}
