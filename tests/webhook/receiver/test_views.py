"""POST /webhooks/recall: the outcomes and codes, on both databases."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from models.tables.delivery import Delivery
from models.tables.rejection import Rejection
from tests.conftest import SECRET, MakeSettings
from tests.lab.sender.events import lifecycle
from tests.lab.sender.signing import Family, new_secret, sign
from tests.support.fakes import BOT
from tests.support.rows import count, rows
from webhook.app import create_app, resources_of
from workers.queue.jobs import links_queue, queue_name
from workers.queue.redis_clients import quick_redis

NOW = 1_795_200_000
PATH = "/webhooks/recall"
PAYLOADS = Path(__file__).parents[4] / "shared" / "recall" / "payloads"

Post = Callable[..., TestResponse]


@pytest.fixture
def app(make_settings: MakeSettings) -> Iterator[Flask]:
    """The application, at a clock of the test's."""
    app = create_app(make_settings(), clock=lambda: NOW)
    yield app
    resources_of(app).close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of it."""
    return app.test_client()


def post(
    client: FlaskClient,
    body: Any = None,
    *,
    message_id: str = "msg_1",
    secret: str = SECRET,
    age: int = 0,
    family: Family = "webhook",
    headers: Mapping[str, str] | None = None,
    path: str = PATH,
) -> TestResponse:
    """Post a signed body; the headers given replace the signed ones."""
    body = done() if body is None else body
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    signed = sign(message_id, raw, [secret], timestamp=NOW - age, family=family)
    return client.post(path, data=raw, headers=signed if headers is None else headers)


def done(bot_id: str = BOT) -> dict[str, Any]:
    """The last webhook of a bot's life."""
    start = datetime.fromtimestamp(NOW - 7200, UTC)
    return lifecycle(bot_id, generation="legacy", start=start)[-1]


@pytest.mark.parametrize("family", ["svix", "webhook"])
def test_a_verified_webhook_is_committed_and_answered_202(
    client: FlaskClient, engine: Engine, family: Family
) -> None:
    """With what proved it, its meaning, and its body to the byte."""
    response = post(client, done(), family=family)
    assert (response.status_code, response.json) == (
        202,
        {"outcome": "accepted", "delivery": "msg_1"},
    )
    (row,) = rows(engine, Delivery)
    assert (row.id, row.outcome, row.bot_id, row.code) == ("msg_1", "accepted", BOT, "done")
    assert (row.scheme, len(row.secret_fingerprint)) == (family, 12)
    assert (row.body, row.copies, row.applied_at) == (json.dumps(done()).encode(), 1, None)
    assert row.received_at == row.last_received_at


def test_a_repeat_is_a_quiet_200_and_counts_a_copy(client: FlaskClient, engine: Engine) -> None:
    """Under a new timestamp and signature, as each attempt has; the first body stands."""
    post(client)
    for age in (10, 20):
        response = post(client, done() | {"other": age}, age=age)
        assert (response.status_code, response.json) == (
            200,
            {"outcome": "duplicate", "delivery": "msg_1"},
        )
    (row,) = rows(engine, Delivery)
    assert (row.copies, row.body) == (3, json.dumps(done()).encode())
    assert row.last_received_at > row.received_at


@pytest.mark.parametrize(
    ("body", "outcome", "reason"),
    [
        ({"event": "recording.done", "data": {}}, "ignored", "not_a_bot_status"),
        (b"hello", "malformed", "not_json"),
        (b"", "malformed", "not_json"),
        (b"\xff\x00", "malformed", "not_utf8"),
        (b"[]", "malformed", "not_an_object"),
        ({"event": "bot.status_change", "data": {"bot_id": "x"}}, "malformed", "bad_bot_id"),
    ],
)
def test_what_we_cannot_use_is_kept_and_answered_200(
    client: FlaskClient, engine: Engine, body: Any, outcome: str, reason: str
) -> None:
    """Recall must not retry what can never succeed, and nobody should lose the evidence."""
    response = post(client, body)
    assert (response.status_code, response.json) == (200, {"outcome": outcome, "delivery": "msg_1"})
    (row,) = rows(engine, Delivery)
    assert (row.outcome, row.reason) == (outcome, reason)
    assert row.body == (body if isinstance(body, bytes) else json.dumps(body).encode())


def test_hostile_text_is_stored_on_both_databases(client: FlaskClient, engine: Engine) -> None:
    """NUL, lone surrogates, emoji, right-to-left marks."""
    for number, message in enumerate(["a\x00b", "\ud800", "\U0001f600", "\u202eabc", "x" * 9000]):
        body = done()
        body["data"]["status"]["message"] = message
        body["data"]["status"]["sub_code"] = message
        assert post(client, body, message_id=f"msg_{number}").status_code == 202
    assert count(engine, Delivery) == 5


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"secret": new_secret()}, "no_matching_signature"),
        ({"age": 301}, "stale_timestamp"),
        ({"age": -301}, "future_timestamp"),
        ({"message_id": "a b"}, "malformed_header"),
        ({"headers": {}}, "missing_header"),
        ({"headers": {"webhook_id": "x"}}, "missing_header"),
    ],
)
def test_what_is_not_proved_is_401_and_touches_no_database(
    client: FlaskClient, engine: Engine, arguments: dict[str, Any], reason: str
) -> None:
    """Even where there is no database at all."""
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE deliveries RENAME TO elsewhere"))
    response = post(client, **arguments)
    assert (response.status_code, response.json) == (
        401,
        {"error": "unverified", "reason": reason},
    )


def test_a_senders_word_for_its_address_is_cut(app: Flask, engine: Engine) -> None:
    """Where no router is in front, a header of any length becomes the address."""
    environ = {"REMOTE_ADDR": "x\x00" * 9000}
    client = app.test_client()
    assert client.post(PATH, data=b"{}", environ_overrides=environ).status_code == 401
    resources_of(app).rejections.flush()
    (row,) = rows(engine, Rejection)
    assert row.remote_addr == "x\ufffd" * 32


def test_a_database_that_fails_is_503_with_retry_after(client: FlaskClient, engine: Engine) -> None:
    """Nothing is pretended; when it is back, the same message is accepted."""
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE deliveries RENAME TO elsewhere"))
    response = post(client)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO deliveries"))
    assert post(client).status_code == 202


def test_without_a_secret_everything_is_503(make_settings: MakeSettings, engine: Engine) -> None:
    """Recall's sender holds the messages until one is set."""
    app = create_app(make_settings(RECALL_WEBHOOK_SECRETS=""))
    response = post(app.test_client())
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert count(engine, Delivery) == 0
    resources_of(app).close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_is_405(client: FlaskClient, method: str) -> None:
    """And names the one there is."""
    response = client.open(PATH, method=method)
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")


def test_a_trailing_slash_is_the_same_address(client: FlaskClient) -> None:
    """A redirect would be a failed delivery."""
    assert post(client, path=f"{PATH}/").status_code == 202


def test_a_body_is_taken_to_its_limit_and_no_further(client: FlaskClient, engine: Engine) -> None:
    """WEBHOOK_MAX_BYTES, also where no length is told beforehand."""
    fits = b'{"event":"x","data":{}}'.ljust(262_144)
    assert post(client, fits).status_code == 200
    assert post(client, fits + b" ", message_id="msg_2").status_code == 413
    assert count(engine, Delivery) == 1


def test_rotation_leaves_no_gap(make_settings: MakeSettings, engine: Engine) -> None:
    """Old and new are both accepted while both are set; the row says which it was."""
    new = new_secret()
    app = create_app(make_settings(RECALL_WEBHOOK_SECRETS=f"{SECRET},{new}"), clock=lambda: NOW)
    client = app.test_client()
    assert post(client, message_id="msg_old").status_code == 202
    assert post(client, message_id="msg_new", secret=new).status_code == 202
    assert len({row.secret_fingerprint for row in rows(engine, Delivery)}) == 2
    resources_of(app).close()


def test_the_bell_is_rung_for_what_is_new(make_settings: MakeSettings, redis_url: str) -> None:
    """Off the request path, by a thread of its own."""
    settings = make_settings(REDIS_URL=redis_url)
    app = create_app(settings, clock=lambda: NOW)
    assert post(app.test_client()).status_code == 202
    redis = quick_redis(settings)
    assert redis is not None
    while not links_queue(redis, queue_name(settings)).count:
        time.sleep(0.01)
    resources_of(app).close()


def test_redis_away_delays_no_answer(make_settings: MakeSettings) -> None:
    """Still 202: the sweep will find it."""
    app = create_app(make_settings(REDIS_URL="unix:///nonexistent/redis.sock"), clock=lambda: NOW)
    assert post(app.test_client()).status_code == 202
    resources_of(app).close()


def test_answers_tell_strangers_nothing(client: FlaskClient) -> None:
    """No server, no version, no trace."""
    for response in (post(client, secret=new_secret()), client.get("/nowhere"), client.get(PATH)):
        assert "Server" not in response.headers
        assert "Traceback" not in response.text
    missing = client.get("/nowhere")
    assert (missing.status_code, missing.mimetype) == (404, "application/problem+json")


def samples() -> list[Any]:
    """Every sample body that Recall is documented or seen to send, where they are at hand."""
    found: list[Any] = []
    for path in sorted(PAYLOADS.glob("*-webhook-*.json")) + sorted(PAYLOADS.glob("50-*.json")):
        body = json.loads(path.read_text())["body"]
        found += body if isinstance(body, list) else [body]
    return found


@pytest.mark.skipif(not PAYLOADS.is_dir(), reason="the payload samples are not on this machine")
def test_every_sample_payload_is_taken(client: FlaskClient, engine: Engine) -> None:
    """None is an error; statuses of bots and media are accepted, the rest is kept and ignored."""
    bodies = samples()
    answers = [post(client, body, message_id=f"m{n}") for n, body in enumerate(bodies)]
    assert {answer.status_code for answer in answers} <= {200, 202}
    outcomes = {row.id: row.outcome for row in rows(engine, Delivery)}
    for number, body in enumerate(bodies):
        event = body["event"]
        is_status = event.startswith(("bot.", "recording.", "transcript.")) and event != "bot.log"
        is_template = "breakout" in event
        expected = "malformed" if is_template else "accepted" if is_status else "ignored"
        assert outcomes[f"m{number}"] == expected, event
    assert len(bodies) >= 25


@pytest.mark.parametrize("chunked", [262_143, 262_145])
def test_a_body_without_a_length_is_measured_as_it_is_read(
    client: FlaskClient, chunked: int
) -> None:
    """Werkzeug alone would cut it off and call it whole."""
    raw = b" " * chunked
    signed = sign("msg_1", raw, [SECRET], timestamp=NOW, family="webhook")
    environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    response = client.post(PATH, data=raw, headers=signed, environ_overrides=environ)
    assert response.status_code == (200 if chunked < 262_144 else 413)
