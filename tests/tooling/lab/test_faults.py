"""Every scripted fault is really seen by a client."""

import contextlib
import json
import socket
import zlib
from collections.abc import Iterator

import httpx
import pytest

from tests.lab.asking import Asking, asking
from tests.lab.faults.faults import ACTS, Fault, FaultBook, from_json, to_json
from tests.lab.recall import FakeRecall


@pytest.fixture
def ask() -> Iterator[Asking]:
    """Yield a client of a fresh fake."""
    with FakeRecall() as recall, asking(recall) as client:
        yield client


@pytest.mark.parametrize("status", [401, 402, 403, 404, 409, 425, 500, 502, 503, 504, 507])
def test_any_status_can_be_scripted(ask: Asking, status: int) -> None:
    """A bare status brings the body Recall would send with it."""
    ask.recall.faults.add(Fault(status=status))
    answer = ask.get("bot/")
    assert answer.status_code == status
    kind = "text/html" if status == 403 else "application/json"
    assert answer.headers["content-type"] == kind


@pytest.mark.parametrize("wait", [None, "7", "soon", "-5", "86400000", "Fri, 01 Jan 2100 00:00:00"])
def test_retry_after_can_be_missing_or_absurd(ask: Asking, wait: str | None) -> None:
    """429 carries exactly the Retry-After it was given."""
    headers = {} if wait is None else {"Retry-After": wait}
    ask.recall.faults.add(Fault(status=429, headers=headers, body="slow down"))
    answer = ask.get("bot/")
    assert answer.headers.get("retry-after") == wait
    assert answer.text == "slow down"


def test_html_empty_and_no_content_answers(ask: Asking) -> None:
    """A success without JSON in it comes in three kinds."""
    for fault in (Fault("html", times=1), Fault("empty", times=1), Fault(status=204, times=1)):
        ask.recall.faults.add(fault)
    page, empty, nothing = (ask.get("bot/") for _ in range(3))
    assert page.text.startswith("<!doctype html>")
    assert (empty.status_code, empty.content) == (200, b"")
    assert (nothing.status_code, nothing.content) == (204, b"")


@pytest.mark.parametrize("variant", ["nan", "deep", "latin1", "surrogate", "null", "list", "text"])
def test_garbage_comes_as_200(ask: Asking, variant: str) -> None:
    """Each kind of garbage arrives whole, announced as JSON."""
    ask.recall.faults.add(Fault("garbage", variant=variant))
    answer = ask.get("bot/")
    assert answer.status_code == 200
    starts = {"nan": b'{"id": NaN', "deep": b"[[[", "null": b"null", "list": b"[]"}
    assert answer.content.startswith(starts.get(variant, b""))
    if variant == "latin1":
        with pytest.raises(UnicodeDecodeError):
            answer.content.decode()


def test_a_redirect_leads_to_another_host(ask: Asking) -> None:
    """The answer points away from Recall; where to can be chosen."""
    ask.recall.faults.add(Fault("redirect", times=1))
    ask.recall.faults.add(Fault("redirect", status=308, location="http://localhost:1/x"))
    assert ask.get("bot/").headers["location"] == "http://elsewhere.example/api/v1/bot/"
    second = ask.get("bot/")
    assert (second.status_code, second.headers["location"]) == (308, "http://localhost:1/x")


def test_a_truncated_answer_breaks_off(ask: Asking) -> None:
    """Content-Length promises more than arrives."""
    ask.recall.faults.add(Fault("partial"))
    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        ask.get("bot/")


@pytest.mark.parametrize(("act", "error"), [("reset", ConnectionResetError), ("close", None)])
def test_a_connection_ends_without_a_word(
    ask: Asking, act: str, error: type[Exception] | None
) -> None:
    """`reset` sends a RST, `close` a FIN."""
    ask.recall.faults.add(from_json({"act": act}))
    expected = pytest.raises(error) if error else contextlib.nullcontext()
    with _raw(ask) as connection, expected:
        assert connection.recv(10) == b""
    assert ask.recall.calls.wait_for(lambda call: call.fault == act)[0].status == 0


def test_a_hanging_call_is_logged_at_once_and_answered_never(ask: Asking) -> None:
    """The log shows it while it hangs; the client's leaving ends it."""
    ask.recall.faults.add(Fault("hang", times=1))
    with _raw(ask):
        (call,) = ask.recall.calls.wait_for(lambda call: call.fault == "hang")
        assert call.status == 0
        assert ask.recall.in_flight == 1
    while ask.recall.in_flight:
        ask.get("bot/")


def test_a_slow_answer_is_the_true_one(ask: Asking) -> None:
    """The client's own time-out ends it; with more patience the answer comes."""
    ask.recall.faults.add(Fault("slow", delay=30, times=1))
    with pytest.raises(httpx.ReadTimeout):
        ask.get("bot/", timeout=0.05)
    ask.recall.faults.add(Fault("slow", delay=0.02))
    assert ask.get("bot/").json()["count"] == 0


@pytest.mark.parametrize("act", ["drip_headers", "drip_body"])
def test_a_drip_arrives_byte_by_byte(ask: Asking, act: str) -> None:
    """Each read brings little, and all of it together is the true answer."""
    ask.recall.faults.add(from_json({"act": act, "gap": 0.001}))
    with _raw(ask) as connection:
        reads: list[bytes] = []
        while b'"results":[]}' not in b"".join(reads[-400:]):
            reads.append(connection.recv(4096))
    assert len(reads) > 20
    assert b"".join(reads).startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_endless_body_does_not_stop_the_fake(ask: Asking) -> None:
    """The body outgrows any cap while others are answered; it ends with the client."""
    ask.recall.faults.add(Fault("endless", times=1))
    with ask.http.stream("GET", "/api/v1/bot/") as answer:
        size = 0
        for chunk in answer.iter_raw():
            size += len(chunk)
            if size > 3_000_000:
                break
        assert ask.get("bot/").status_code == 200
    (call,) = ask.recall.calls.wait_for(lambda call: call.fault == "endless")
    assert call.template == "bot"


def test_a_gzip_bomb_is_small_on_the_wire_and_large_unpacked(ask: Asking) -> None:
    """A few kilobytes unpack to the size asked for, though nobody asked for gzip."""
    ask.recall.faults.add(Fault("gzip_bomb", size=8 * 1024 * 1024))
    headers = {"Accept-Encoding": "identity"}
    with ask.http.stream("GET", "/api/v1/bot/", headers=headers) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert len(packed) < 64 * 1024
    assert len(zlib.decompress(packed, zlib.MAX_WBITS | 16)) == 8 * 1024 * 1024


def test_the_body_can_be_another_bots(ask: Asking) -> None:
    """Everything is true but the id."""
    bot = ask.recall.build.bot()
    ask.recall.faults.add(Fault("other_bot", path="bot/{id}", times=1))
    wrong, right = ask.get(f"bot/{bot.id}/").json(), ask.get(f"bot/{bot.id}/").json()
    assert wrong["id"] != bot.id
    assert {**wrong, "id": bot.id} == right


def test_the_true_answer_can_be_transformed(ask: Asking) -> None:
    """By a callable in this process, by a merge patch over HTTP."""
    bot = ask.recall.build.bot()
    with ask.recall.faults.during(Fault("transform", transform=lambda body: [body["id"]])):
        assert ask.get(f"bot/{bot.id}/").json() == [bot.id]
    fault = {"act": "transform", "patch": {"calendar_meetings": {"0": 1}, "recordings": None}}
    ask.control("POST", "faults", json=fault)
    body = ask.get(f"bot/{bot.id}/").json()
    assert body["calendar_meetings"] == {"0": 1}
    assert "recordings" not in body


@pytest.mark.parametrize("variant", ["crlf", "empty", "non_ascii", "huge", "null", "number"])
def test_a_token_can_be_hostile(ask: Asking, variant: str) -> None:
    """No variant is a token that could be used."""
    ask.recall.faults.add(Fault("token", path="calendar/authenticate", variant=variant))
    token = ask.post("calendar/authenticate/", json={"user_id": "ines"}).json()["token"]
    usable = isinstance(token, str) and token.isascii() and token.isprintable()
    assert not usable or not 0 < len(token) < 4096
    assert ask.recall.calls.all()[0].fault == "token"


def test_a_fault_finds_its_calls(ask: Asking) -> None:
    """Template, method, subject, the first n and the number of times all count."""
    one, two = ask.recall.build.bot(), ask.recall.build.bot()
    fault = Fault(path="bot/{id}", method="GET", match=one.id, after=1, times=2)
    name = ask.recall.faults.add(fault)
    statuses = [ask.get(f"bot/{one.id}/").status_code for _ in range(5)]
    assert statuses == [200, 503, 503, 200, 200]
    assert ask.get(f"bot/{two.id}/").status_code == 200
    assert ask.recall.faults.fired(name) == 2


def test_a_fault_finds_a_calendar_user_by_name(ask: Asking) -> None:
    """`match` also looks at the external_id a call is about."""
    ask.recall.faults.add(Fault(status=403, match="ines"))
    tokens = {name: ask.recall.world.authenticate(name) for name in ("ines", "leif")}
    statuses = [
        ask.as_user(token, "GET", "calendar/user/").status_code for token in tokens.values()
    ]
    assert statuses == [403, 200]


def test_chance_is_seeded() -> None:
    """The same seed hits the same calls."""

    def hits(seed: int) -> list[bool]:
        book = FaultBook(seed)
        book.add(Fault(probability=0.5))
        return [book.pick("bot", "GET", "/", "") is not None for _ in range(40)]

    assert hits(1) == hits(1) != hits(2)
    assert 5 < sum(hits(1)) < 35


def test_a_full_window_comes_before_a_fault(ask: Asking) -> None:
    """A fault does not spend itself on a call the rate limit refuses."""
    ask.recall.limits.scale = 1 / 60
    name = ask.recall.faults.add(Fault())
    assert [ask.get("bot/").status_code for _ in range(2)] == [503, 429]
    assert ask.recall.faults.fired(name) == 1


def test_a_true_answer_is_not_worked_out_behind_a_fault(ask: Asking) -> None:
    """A 503 on authenticate creates nobody."""
    ask.recall.faults.add(Fault())
    ask.post("calendar/authenticate/", json={"user_id": "ines"})
    assert not ask.recall.world.users


def test_faults_are_data() -> None:
    """Every act goes to JSON and back; a field or an act that is none is refused."""
    for act in ACTS:
        data = json.loads(json.dumps(to_json(from_json({"act": act, "headers": {"A": 1}}))))
        assert data.pop("transform") is None
        assert to_json(from_json(data)) == {**data, "transform": None}
    with pytest.raises(ValueError, match="no \\['colour'\\]"):
        from_json({"colour": "red"})
    with pytest.raises(ValueError, match="no such act"):
        from_json({"act": "sulk"})


@contextlib.contextmanager
def _raw(ask: Asking) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", ask.recall.port), timeout=5) as connection:
        key = ask.recall.api_key.encode()
        connection.sendall(
            b"GET /api/v1/bot/ HTTP/1.1\r\nHost: lab\r\nAuthorization: " + key + b"\r\n\r\n"
        )
        yield connection
