"""Delivery to real endpoints on loopback: taken, tried again, given up, turned off."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import Engine, update
from standardwebhooks import Webhook

from models.settings.environment import Settings
from models.tables.base import db_now
from models.tables.event import Event, EventAttempt, EventDelivery
from models.tables.workspace_state import WorkspaceState
from tests.conftest import MakeSettings
from tests.support.processes import until
from tests.support.rows import rows
from workers.events import sender as sending
from workers.events.deliveries import claim
from workers.events.endpoints import resend, turn_on
from workers.events.publisher import MOST_ANSWER_BYTES, Publisher
from workers.events.sender import EndpointSender
from workers.outbox.numbering import number_events, routes_of
from workers.outbox.write import Subject, write_event
from workers.recall_api.transport import HttpClient, make_ssl_context
from workers.shutdown import Stop

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Post = tuple[dict[str, str], bytes]


class Receiver:
    """An endpoint that keeps what it is sent, and answers as it is told."""

    def __init__(self, answers: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.posts: list[Post] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.posts.append((dict(self.headers.items()), body))
                answers(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def names(self) -> list[str]:
        """The bots that it was told of, in order, each message verified."""
        return [
            Webhook(SECRET).verify(body, headers)["data"]["name"] for headers, body in self.posts
        ]

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


def answering(status: int, body: bytes = b"", **headers: str) -> Callable[[Any], None]:
    """Return an answer with a status."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def raw(said: bytes) -> Callable[[Any], None]:
    """Return an answer that is whatever these bytes are, and the end of the connection."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(said)
        handler.close_connection = True

    return answer


@contextmanager
def a_receiver(answers: Callable[[Any], None]) -> Iterator[Receiver]:
    """A receiver that is there for as long as the block."""
    receiver = Receiver(answers)
    yield receiver
    receiver.close()


@pytest.fixture
def http() -> Iterator[HttpClient]:
    """The client that posts."""
    client = HttpClient(make_ssl_context(), MOST_ANSWER_BYTES)
    yield client
    client.close()


def tell(engine: Engine, *names: str, settings: Settings) -> None:
    """Write an event for each name, and give it its place."""
    with engine.begin() as connection:
        for name in names:
            write_event(connection, "bot.ended", Subject(bot_id=name[:1]), {"name": name})
    with engine.begin() as connection:
        number_events(connection, routes_of(settings))


def sender_to(engine: Engine, settings: Settings, http: HttpClient) -> EndpointSender:
    """What posts to the first endpoint."""
    return EndpointSender(engine, settings.event_endpoints[0], http, Stop())


def post_all(sender: EndpointSender) -> None:
    """Post until nothing is due."""
    while sender.turn():
        pass


def make_due(engine: Engine) -> None:
    """Let the time to the next try pass."""
    with engine.begin() as connection:
        pending = EventDelivery.state == "pending"
        connection.execute(update(EventDelivery).where(pending).values(next_try_at=db_now(-1)))


def test_events_come_signed_and_in_order(
    engine: Engine, make_settings: MakeSettings, http: HttpClient
) -> None:
    """Each once, with its attempt, and delivered."""
    with a_receiver(answering(204)) as receiver:
        settings = make_settings(EVENTS_URL=receiver.url, EVENTS_SECRET=SECRET)
        tell(engine, "a1", "b1", "a2", "b2", settings=settings)
        post_all(sender_to(engine, settings, http))
    assert receiver.names == ["a1", "b1", "a2", "b2"]
    assert {headers["webhook-id"] for headers, _ in receiver.posts} == {
        event.id for event in rows(engine, Event)
    }
    assert {(e.state, e.attempts, e.next_try_at) for e in rows(engine, Event)} == {
        ("delivered", 1, None)
    }
    assert [(a.status, a.error) for a in rows(engine, EventAttempt)] == [(204, None)] * 4


@pytest.mark.parametrize(
    ("answers", "status", "error"),
    [
        (answering(500, b"no"), 500, None),
        (answering(302, location="http://127.0.0.1:1/elsewhere"), 302, None),
        (answering(500, b"x" * (MOST_ANSWER_BYTES + 1)), 500, None),
        (raw(b"HTTP/0.9 hello"), None, "RemoteProtocolError"),
        (raw(b"\x00\x01\x02 garbage\r\n\r\n"), None, "RemoteProtocolError"),
        (raw(b""), None, "RemoteProtocolError"),
        (answering(200, b"x" * 10, **{"content-length": "9999999999"}), None, "R"),
    ],
)
def test_any_bad_answer_costs_an_attempt_and_nothing_else(
    engine: Engine,
    make_settings: MakeSettings,
    http: HttpClient,
    answers: Callable[[Any], None],
    status: int | None,
    error: str | None,
) -> None:
    """It is tried again later; a redirect is not followed."""
    with a_receiver(answers) as receiver:
        settings = make_settings(EVENTS_URL=receiver.url, EVENTS_SECRET=SECRET)
        tell(engine, "a", settings=settings)
        assert sender_to(engine, settings, http).turn() == 1
    (attempt,) = rows(engine, EventAttempt)
    assert attempt.status == status
    assert (attempt.error or "").startswith(error or "")
    (event,) = rows(engine, Event)
    assert (event.state, event.attempts) == ("pending", 1)
    assert event.next_try_at is not None
    (noted,) = [s for s in rows(engine, WorkspaceState) if s.key.startswith("endpoint_failing:")]
    assert noted.value["error"] == (attempt.error or f"http_{status}")


def test_what_an_endpoint_says_beside_its_status_counts_for_nothing(
    engine: Engine, make_settings: MakeSettings, http: HttpClient
) -> None:
    """Not even when it is too much to be read."""
    with a_receiver(answering(200, b"x" * (MOST_ANSWER_BYTES + 1))) as receiver:
        settings = make_settings(EVENTS_URL=receiver.url, EVENTS_SECRET=SECRET)
        tell(engine, "a", settings=settings)
        post_all(sender_to(engine, settings, http))
    assert [(a.status, a.error) for a in rows(engine, EventAttempt)] == [(200, None)]
    assert [event.state for event in rows(engine, Event)] == ["delivered"]


def test_an_endpoint_that_takes_events_is_not_noted_as_failing(
    engine: Engine, make_settings: MakeSettings, http: HttpClient
) -> None:
    """Nor where another worker has noted it and ended."""
    answers = [answering(204), answering(500), answering(204)]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        answers.pop(0)(handler)

    with a_receiver(answer) as receiver:
        settings = make_settings(EVENTS_URL=receiver.url, EVENTS_SECRET=SECRET)
        ours, ended = (sender_to(engine, settings, http) for _ in range(2))
        for sender, name in ((ours, "a"), (ended, "b"), (ours, "c")):
            assert _failing(engine) == (name == "c")
            tell(engine, name, settings=settings)
            assert sender.turn() == 1
    assert not _failing(engine)


def _failing(engine: Engine) -> bool:
    return any(s.key.startswith("endpoint_failing:") for s in rows(engine, WorkspaceState))


def test_a_try_ends_in_time(
    engine: Engine,
    make_settings: MakeSettings,
    http: HttpClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that drips a byte now and then too."""
    monkeypatch.setattr(sending, "CALL_SECONDS", 0.4)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        for _ in range(50):
            handler.wfile.write(b"H")
            time.sleep(0.05)

    with a_receiver(drip) as receiver:
        settings = make_settings(EVENTS_URL=receiver.url, EVENTS_SECRET=SECRET)
        tell(engine, "a", settings=settings)
        started = time.monotonic()
        sender_to(engine, settings, http).turn()
        assert time.monotonic() - started < 2
    (attempt,) = rows(engine, EventAttempt)
    assert attempt.error.startswith("ReadTimeout")


def test_what_failed_is_tried_again_and_then_given_up(
    engine: Engine, make_settings: MakeSettings, http: HttpClient
) -> None:
    """Eight times; then it waits for somebody to send it again."""
    with a_receiver(answering(500)) as receiver:
        settings = make_settings(EVENTS_URL=receiver.url, EVENTS_SECRET=SECRET)
        tell(engine, "a", settings=settings)
        sender = sender_to(engine, settings, http)
        assert sender.turn() == 1
        assert sender.turn() == 0
        for _ in range(7):
            make_due(engine)
            assert sender.turn() == 1
        make_due(engine)
        assert sender.turn() == 0
    (event,) = rows(engine, Event)
    assert (event.state, event.attempts, len(receiver.posts)) == ("failed", 8, 8)
    with engine.begin() as connection:
        assert resend(connection, [event.id], routes_of(settings)) == 1
    (event,) = rows(engine, Event)
    assert (event.state, event.attempts) == ("pending", 0)


def test_gone_turns_the_endpoint_off_until_it_is_turned_on(
    engine: Engine, make_settings: MakeSettings, http: HttpClient
) -> None:
    """What comes meanwhile is kept, and sent then."""
    with a_receiver(answering(410)) as receiver:
        settings = make_settings(EVENTS_URL=receiver.url, EVENTS_SECRET=SECRET)
        tell(engine, "a", "b", settings=settings)
        sender = sender_to(engine, settings, http)
        post_all(sender)
        tell(engine, "c", settings=settings)
        post_all(sender)
        assert len(receiver.posts) == 1
        assert {event.state for event in rows(engine, Event)} == {"off"}
        with engine.begin() as connection:
            turn_on(connection, settings.event_endpoints[0].name)
        assert {event.state for event in rows(engine, Event)} == {"pending"}
        post_all(sender)
        assert receiver.names == ["a", "a"]


def test_a_dead_worker_s_events_go_to_another(
    engine: Engine, make_settings: MakeSettings, http: HttpClient
) -> None:
    """When its lease has run out; until then nobody posts a later event of the same bot."""
    with a_receiver(answering(200)) as receiver:
        settings = make_settings(EVENTS_URL=receiver.url, EVENTS_SECRET=SECRET)
        tell(engine, "a1", "a2", "b1", settings=settings)
        with engine.begin() as connection:
            (dead,) = claim(connection, settings.event_endpoints[0].name, 1)
        sender = sender_to(engine, settings, http)
        post_all(sender)
        assert receiver.names == ["b1"]
        with engine.begin() as connection:
            connection.execute(update(EventDelivery).values(lease_until=db_now(-1)))
        post_all(sender)
        assert receiver.names == ["b1", "a1", "a2"]
        assert dead.message.data == {"name": "a1"}


def test_an_endpoint_that_hangs_keeps_no_other_waiting(
    engine: Engine, make_settings: MakeSettings, http: HttpClient
) -> None:
    """Each has a thread of its own."""
    silent = socket.create_server(("127.0.0.1", 0))
    stop = Stop()
    with a_receiver(answering(200)) as receiver:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/,{receiver.url}"
        settings = make_settings(EVENTS_URL=url, EVENTS_SECRET=f"{SECRET},{SECRET}")
        with engine.begin() as connection:
            for name in ("a", "b", "c"):
                write_event(connection, "bot.ended", Subject(bot_id=name), {"name": name})
        threads = Publisher(settings, engine, http, stop).start()
        until(lambda: len(receiver.posts) == 3, "the other endpoint has them all")
        stop.request()
        silent.close()
        for thread in threads[:1] + threads[2:]:
            thread.join(10)
    assert receiver.names == ["a", "b", "c"]
    states = {(d.endpoint, d.state) for d in rows(engine, EventDelivery)}
    assert len(states) == 2
