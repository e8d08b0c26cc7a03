"""Senders that break off, drip, frame oddly or send too much, at the real web process.

Each has its answer, whatever it still sends; and nobody else waits, nor does memory grow with them.
"""

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import SECRET
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery
from tests.lab.sender.events import lifecycle
from tests.lab.sender.sender import Sender
from tests.lab.stack.stack import Process
from tests.support.processes import environ_for, until, web_alone
from webhook.serving.body_buffer import LARGE_BYTES_IN_ALL, SMALL_BYTES
from webhook.serving.http_channel import DISCARD_BYTES, MOST_PIPELINED, Channel, Shared

PATH = "/webhooks/recall"
MIB = 1024 * 1024
MOST_BYTES = 262_144


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the web process logs."""
    return tmp_path_factory.mktemp("limits")


@pytest.fixture(scope="module")
def web(folder: Path, sqlite_template: Path) -> Iterator[tuple[Process, int]]:
    """A web process, and its port; it must log no fault of its own."""
    (folder / "web.db").write_bytes(sqlite_template.read_bytes())
    with FakeRecall() as recall:
        environ = environ_for(f"sqlite:///{folder / 'web.db'}", recall)
        with web_alone(environ, folder) as (process, _):
            yield process, int(environ["PORT"])
    said = [json.loads(line) for line in (folder / "web.log").read_text().splitlines()]
    assert [one for one in said if one["level"] == "error" or "exception" in one] == []


@pytest.fixture
def port(web: tuple[Process, int]) -> int:
    """Where it listens."""
    return web[1]


def connect(port: int, raw: bytes = b"") -> socket.socket:
    """A connection that has sent this."""
    line = socket.create_connection(("127.0.0.1", port), timeout=15)
    line.sendall(raw)
    return line


def to_the_end(line: socket.socket) -> bytes:
    """All that is answered, until the server ends its side; a reset is an error."""
    parts = []
    while part := line.recv(65536):
        parts.append(part)
    return b"".join(parts)


def request(first: str, *headers: str) -> bytes:
    """A request's head."""
    return "\r\n".join([f"{first} HTTP/1.1", "Host: x", *headers, "", ""]).encode("latin-1")


def chunks(count: int, size: int = 65536) -> bytes:
    """So many chunks."""
    return (b"%x\r\n" % size + b"x" * size + b"\r\n") * count


EARLY = [
    (request("POST /webhooks/recall", f"Content-Length: {3 * MIB}"), b"x" * 3 * MIB, 413),
    (request("POST /nowhere", f"Content-Length: {3 * MIB}"), b"x" * 3 * MIB, 413),
    (request("PUT /healthz", f"Content-Length: {3 * MIB}"), b"x" * 3 * MIB, 413),
    (request("POST /console/login", f"Content-Length: {3 * MIB}"), b"x" * 3 * MIB, 413),
    (request("POST /webhooks/recall", "Transfer-Encoding: chunked"), chunks(48), 413),
    (request("POST /nowhere", "Transfer-Encoding: chunked"), b"nonsense\r\n" + chunks(48), 400),
    (request("POST /webhooks/recall", "Transfer-Encoding: gzip"), b"x" * 3 * MIB, 501),
    (request("POST /webhooks/recall", "No header"), b"x" * 3 * MIB, 400),
    (request("POST http://[/webhooks/recall"), b"x" * 3 * MIB, 400),
    (request("POST /webhooks/recall", f"X: {'x' * 40_000}"), b"x" * 3 * MIB, 431),
]
# What is read whole before its answer, so that the connection may go on.
WHOLE = [
    ("POST /webhooks/recall", 401),
    ("PUT /webhooks/recall", 405),
    ("POST /healthz", 405),
    ("POST /nowhere", 404),
]


@pytest.mark.parametrize("expects", [False, True])
@pytest.mark.parametrize(("head", "body", "status"), EARLY)
def test_who_still_sends_has_the_answer_all_the_same(
    port: int, head: bytes, body: bytes, status: int, *, expects: bool
) -> None:
    """Ten times each: a reset that overtakes the answer is a matter of luck."""
    if expects:
        head = head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    for _ in range(10):
        with connect(port, head + body) as line:
            answer = to_the_end(line)
        # Of a head that cannot be read, the version is not known either.
        first, *answers = re.split(rb"HTTP/1\.[01] ", answer)[1:]
        # Chunks may be asked for, as no length says how many they will be; nothing else is.
        if b"chunked" in head and first.startswith(b"100 "):
            first = answers.pop()
        assert first.startswith(str(status).encode())
        assert json.loads(first.partition(b"\r\n\r\n")[2])["status"] == status
        assert answers == []


@pytest.mark.parametrize(("first", "status"), WHOLE)
@pytest.mark.parametrize("expects", [False, True])
def test_a_body_that_nobody_wants_is_read_and_the_next_request_answered(
    port: int, first: str, status: int, *, expects: bool
) -> None:
    """On the same connection; whoever asks whether to send is told to."""
    headers = ["Expect: 100-continue"] if expects else []
    with connect(port, request(first, f"Content-Length: {MOST_BYTES}", *headers)) as line:
        if expects:
            assert line.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        ending = request("GET /healthz", "Connection: close")
        line.sendall(b"x" * MOST_BYTES + ending)
        answers = to_the_end(line).split(b"HTTP/1.1 ")[1:]
    assert [int(answer[:3]) for answer in answers] == [status, 200]


@pytest.mark.parametrize("headers", [["Content-Length: 0"], []])
def test_who_expects_a_word_before_no_body_is_answered(port: int, headers: list[str]) -> None:
    """And the next request on the connection is not taken for that body."""
    raw = request("GET /healthz", "Expect: 100-continue", *headers)
    with connect(port, raw + request("GET /nowhere", "Connection: close")) as line:
        answers = to_the_end(line).split(b"HTTP/1.1 ")[1:]
    assert [int(answer[:3]) for answer in answers] == [200, 404]


def test_what_is_read_off_has_an_end(port: int) -> None:
    """Who never stops is cut off."""
    with (
        connect(port, request("POST /nowhere", f"Content-Length: {10**12}")) as line,
        pytest.raises(ConnectionError),
    ):
        line.sendall(bytes(4 * DISCARD_BYTES))


def test_who_does_not_hang_up_is_hung_up_on() -> None:
    """In the order of their time, and nobody before it."""

    class Open:
        def __init__(self, shared: Shared) -> None:
            self.shared = shared
            self.closed = 0

        def handle_close(self) -> None:
            self.shared.lingering.pop(self)  # type: ignore[call-overload]
            self.closed += 1

    lingering: dict[Channel, float] = {}
    shared = Shared(None, MOST_BYTES, lingering=lingering)  # type: ignore[arg-type]
    now = time.monotonic()
    channels = [Open(shared) for _ in range(3)]
    lingering |= dict(zip(channels, (now - 2, now - 1, now + 60), strict=True))  # type: ignore[arg-type]
    shared.close_overdue()
    assert [channel.closed for channel in channels] == [1, 1, 0]


def test_a_packet_of_requests_is_answered_to_a_bound(port: int) -> None:
    """The last of them says that it is; who wants more comes again."""
    with connect(port, request("GET /healthz") * 400) as line:
        answers = to_the_end(line).split(b"HTTP/1.1 ")[1:]
    assert [int(answer[:3]) for answer in answers] == [200] * MOST_PIPELINED
    closing = [b"Connection: close" in answer for answer in answers]
    assert closing == [False] * (MOST_PIPELINED - 1) + [True]


def zeros(line: socket.socket) -> None:
    """A chunk's size of a megabyte."""
    line.sendall(b"0" * MIB)


def extension(line: socket.socket) -> None:
    """A size with a megabyte behind it."""
    line.sendall(b"1;" + b"x" * MIB)


def trailers(line: socket.socket) -> None:
    """No end after the last chunk."""
    line.sendall(b"0\r\n" + b"x: y\r\n" * (MIB // 6))


def small_chunks(line: socket.socket) -> None:
    """Six bytes for each of the body's."""
    line.sendall(b"1\r\na\r\n" * (MIB // 6))


def byte_by_byte(line: socket.socket) -> None:
    """As many packets as bytes."""
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(200):
        line.send(b"0")


@pytest.mark.parametrize("odd", [zeros, extension, trailers, small_chunks, byte_by_byte])
def test_odd_framing_on_300_connections_delays_no_good_webhook(
    port: int, odd: Callable[[socket.socket], None]
) -> None:
    """A second at most."""
    sender = Sender(f"http://127.0.0.1:{port}{PATH}", [SECRET])
    head = request("POST /webhooks/recall", "Transfer-Encoding: chunked")
    # The first one also opens the database.
    waited = [min(seconds(sender) for _ in range(2))]
    with contextlib.ExitStack() as held:
        lines = [held.enter_context(connect(port, head)) for _ in range(300)]
        for number, line in enumerate(lines):
            line.settimeout(0)
            # What the server does not read it cannot be made to work on.
            with contextlib.suppress(OSError):
                odd(line)
            if number % 50 == 0:
                waited.append(seconds(sender))
        waited.append(seconds(sender))
    assert max(waited) < 1


def seconds(sender: Sender) -> float:
    """How long a good webhook takes."""
    delivery = Delivery.of(lifecycle("6a3f5d1c-9a52-4c7e-8a4a-1f2e3d4c5b6a")[-1])
    started = time.monotonic()
    assert sender.send(delivery).status == 202
    return time.monotonic() - started


def grown(process: Process, lines: list[socket.socket], raw: bytes) -> int:
    """By how many bytes the process has grown when it has read what these send."""
    known = psutil.Process(process.pid)
    before = known.memory_info().rss
    for line in lines:
        with contextlib.suppress(ConnectionError):
            line.sendall(raw)
    until(lambda: known.cpu_percent(0.2) < 20, "the reading of all")
    return int(known.memory_info().rss - before)


BODIES = [
    ("Content-Length: 1000000", b"x" * 500_000),
    (f"Content-Length: {MOST_BYTES}", b"x" * (MOST_BYTES - 1)),
    ("Transfer-Encoding: chunked", chunks(4)[:-10]),
    ("X-Large: " + "x" * 32_000, b""),
]


def held(web: tuple[Process, int], count: int) -> None:
    """Hold so many requests of each kind: memory stays within what is kept of each in memory."""
    process, port = web
    sender = Sender(f"http://127.0.0.1:{port}{PATH}", [SECRET])
    # A request's objects, and the socket's beside the body.
    bound = count * (SMALL_BYTES + 16 * 1024) + min(LARGE_BYTES_IN_ALL, count * MOST_BYTES)
    # And what the allocator takes for the process once, however many there are.
    bound += 4 * 1024 * 1024
    seconds(sender)
    for header, body in BODIES:
        with contextlib.ExitStack() as stack:
            lines = [stack.enter_context(connect(port)) for _ in range(count)]
            head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{header}\r\n".encode()
            end = b"" if not body else b"\r\n"
            growth = grown(process, lines, head + end + body)
            assert seconds(sender) < 1
            assert growth < bound, header[:40]


def test_many_large_bodies_of_strangers_fit_in_memory(web: tuple[Process, int]) -> None:
    """Half sent, unsigned, over and under the limit, and heads that do not end."""
    held(web, 150)


@pytest.mark.faults
def test_900_large_bodies_of_strangers_fit_in_memory(web: tuple[Process, int]) -> None:
    """The same, as many as one attacker may hold."""
    held(web, 900)
