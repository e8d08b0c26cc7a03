"""Bad input on the wire, to the real web process: what no HTTP client would send.

The rows of the bad-input matrix that speak of bytes; tests/hostile_input/test_matrix.py says which.
"""

import json
import re
import socket
import sqlite3
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SECRET
from tests.lab.recall import FakeRecall
from tests.lab.sender.receiver import Receiver
from tests.lab.sender.signing import new_message_id, sign
from tests.support.processes import environ_for, until, web_alone

PATH = "/webhooks/recall"
BODY = b'{"event":"calendar.update","data":{"calendar_id":"c"}}'
MALFORMED, UNSIGNED, UNMATCHED = "malformed_header", "missing_header", "no_matching_signature"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the web process logs."""
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def database(folder: Path, sqlite_template: Path) -> Path:
    """A migrated SQLite file."""
    path = folder / "web.db"
    path.write_bytes(sqlite_template.read_bytes())
    return path


@pytest.fixture(scope="module")
def port(folder: Path, database: Path) -> Iterator[int]:
    """A web process that has been through every test here: it must end well, and log no bug."""
    with FakeRecall() as recall:
        environ = environ_for(f"sqlite:///{database}", recall, OPS_READ_TOKENS="read-token-0123456")
    with Receiver() as sentry:
        environ["SENTRY_DSN"] = f"http://public@127.0.0.1:{sentry.port}/1"
        with web_alone(environ, folder) as (process, _):
            yield int(environ["PORT"])
            assert process.code is None
        # Strangers must not be able to spend the quota of whoever is called at night.
        assert sentry.requests == []
    said = [json.loads(line) for line in (folder / "web.log").read_text().splitlines()]
    assert [one for one in said if one["level"] == "error"] == []
    assert [one for one in said if "exception" in one] == []


def signed(body: bytes = BODY, message_id: str | None = None) -> dict[str, str]:
    """The three headers of a rightly signed body."""
    message_id = message_id or new_message_id()
    return sign(message_id, body, [SECRET], timestamp=int(time.time()), family="webhook")


def head(
    *lines: str | bytes, method: str = "POST", path: str = PATH, version: str = "1.1"
) -> bytes:
    """A request's head of these header lines, as bytes."""
    first = f"{method} {path} HTTP/{version}".encode()
    raw = [line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]
    return b"\r\n".join([first, b"Host: x", *raw, b"", b""])


def lines(headers: dict[str, str]) -> list[str]:
    """Headers as lines."""
    return [f"{name}: {value}" for name, value in headers.items()]


def chunked(body: bytes, size: int = 7919) -> bytes:
    """A body in chunks."""
    parts = [body[n : n + size] for n in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


def exchange(port: int, raw: bytes, seconds: float = 10) -> tuple[int, bytes]:
    """Send bytes over a connection of their own: the status and body of the first answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as line:
        line.sendall(raw)
        answer = b""
        while not is_whole(answer):
            received = line.recv(65536)
            if not received:
                break
            answer += received
    first, _, body = answer.partition(b"\r\n\r\n")
    return int(first.split(b" ")[1]) if first else 0, body


def is_whole(answer: bytes) -> bool:
    """Whether an answer's body is as long as its head says."""
    first, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *([0-9]+)", first)
    return bool(end) and (length is None or len(body) >= int(length[1]))


def reason(answer: tuple[int, bytes]) -> tuple[int, str]:
    """A refusal's status and reason."""
    return answer[0], json.loads(answer[1])["reason"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"webhook-signature": "v1"}, UNMATCHED),
        ({"webhook-signature": "v1,a,b"}, UNMATCHED),
        ({"webhook-signature": "v1,%%%%"}, UNMATCHED),
        ({"webhook-signature": "v1,\xff\xfe"}, UNMATCHED),
        ({"webhook-timestamp": "\xd9\xa1\xd9\xa7\xd9\xa9\xd9\xa5"}, MALFORMED),
        ({"webhook-timestamp": "nan"}, MALFORMED),
        ({"webhook-id": "a b"}, MALFORMED),
        ({"webhook-id": "x" * 256}, MALFORMED),
        ({"webhook-id": "msg\x01"}, None),
        ({"webhook-id": ""}, UNSIGNED),
    ],
)
def test_headers_that_prove_nothing_are_401(
    port: int, change: dict[str, str], why: str | None
) -> None:
    """As bytes on the wire, where a header is Latin-1 and nothing is decoded for us."""
    headers = signed() | change
    answer = exchange(port, head(f"Content-Length: {len(BODY)}", *lines(headers)) + BODY)
    # A control character in a header is the server's to refuse.
    assert answer[0] == 400 if why is None else reason(answer) == (401, why)


def test_a_header_given_twice_is_refused(port: int) -> None:
    """Which of the two was signed would be a guess."""
    headers = lines(signed())
    twice = [*headers, headers[0]]
    answer = exchange(port, head(f"Content-Length: {len(BODY)}", *twice) + BODY)
    assert reason(answer) == (401, MALFORMED)


def test_a_header_with_underscores_is_no_header_of_ours(port: int) -> None:
    """WSGI would make one name of webhook_id and webhook-id."""
    odd = [line.replace("-", "_", 1) for line in lines(signed())]
    answer = exchange(port, head(f"Content-Length: {len(BODY)}", *odd) + BODY)
    assert reason(answer) == (401, UNSIGNED)


@pytest.mark.parametrize(
    "header",
    [
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Type: \xff",
        "Content-Encoding: gzip",
        "X-Nothing: 1",
        "Expect: something-odd",
        "X-Forwarded-For: 1.2.3.4, forged",
        "Connection: keep-alive, \xff",
    ],
)
def test_the_signature_decides_and_no_other_header(port: int, header: str) -> None:
    """Nothing but the three is looked at: no form is parsed, nothing is unpacked."""
    answer = exchange(port, head(header, f"Content-Length: {len(BODY)}", *lines(signed())) + BODY)
    assert answer[0] == 200


@pytest.mark.parametrize(
    ("size", "status"), [(262_143, 200), (262_145, 413), (409_600, 413), (5 * 1024 * 1024, 413)]
)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_body_is_taken_to_its_limit_however_it_comes(
    port: int, size: int, status: int, *, in_chunks: bool
) -> None:
    """With a length told beforehand or in chunks: 413, never a part of it taken for the whole."""
    body = BODY.ljust(size)
    headers = lines(signed(body))
    if in_chunks:
        raw = head("Transfer-Encoding: chunked", *headers) + chunked(body)
    else:
        raw = head(f"Content-Length: {size}", *headers) + body
    assert exchange(port, raw)[0] == status


def test_a_body_without_any_length_is_an_empty_one(port: int) -> None:
    """And an empty one is not what was signed."""
    assert reason(exchange(port, head(*lines(signed())))) == (401, UNMATCHED)


@pytest.mark.parametrize(
    "framing",
    [
        ["Content-Length: -1"],
        ["Content-Length: 5x"],
        ["Content-Length: 7, 7"],
        ["Content-Length: 7", "Content-Length: 8"],
        ["Content-Length: +7"],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: \x0bchunked"],
        ["Header without a colon"],
        [b"\xff\xff: \x00"],
    ],
)
def test_broken_framing_is_the_servers_to_refuse(port: int, framing: list[str | bytes]) -> None:
    """400 or 501, by the server alone: no application code has seen it."""
    answer = exchange(port, head(*framing, *lines(signed())) + BODY)
    assert answer[0] in (400, 501)


def test_a_length_beside_chunks_counts_for_nothing(port: int) -> None:
    """RFC 9112, 6.3: the chunks are the body; a length that says otherwise smuggles nothing in."""
    headers = lines(signed())
    raw = head("Content-Length: 4", "Transfer-Encoding: chunked", *headers) + chunked(BODY)
    assert exchange(port, raw)[0] == 200
    raw = head("Content-Length: 4", "Transfer-Encoding: chunked", *headers) + b"nonsense\r\n"
    assert exchange(port, raw)[0] == 400


@pytest.mark.parametrize(
    "host",
    [b"", b"\xff", b"a b", b"[::1", b"x:99999999", b"xn--", b"a..b", b"x" * 300, b"<x>", b"\x00"],
)
def test_a_host_that_is_none_is_no_fault_of_ours(port: int, host: bytes) -> None:
    """Nothing here is built from it; the answer is as to any other, or the server's 400."""
    for path in (b"/healthz", PATH.encode(), b"/api/links", b"/nowhere"):
        raw = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Length: 0\r\n\r\n" % (path, host)
        assert exchange(port, raw)[0] in (400, 401, 404, 405)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x07" * 120 + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x00\x00\x00\r\n\r\n",
        b"POST /webhooks/recall HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"post /webhooks/recall HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"POST http://[/webhooks/recall HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(port: int, raw: bytes) -> None:
    """A TLS hello, another protocol, or noise; what comes near HTTP is refused further in."""
    assert exchange(port, raw)[0] in (400, 401, 404, 405, 505)


def test_a_length_of_thousands_of_digits_is_400(port: int) -> None:
    """Python refuses to read such a number, inside the server."""
    raw = head(f"Content-Length: {'9' * 5000}", *lines(signed())) + BODY
    assert exchange(port, raw)[0] == 400


def test_a_header_is_read_to_32_kib(port: int) -> None:
    """Ten are nobody's fault; more than all is 431, and the rest of it is not waited for."""
    length = f"Content-Length: {len(BODY)}"
    ten = head("X-Large: " + "x" * 10_240, length, *lines(signed())) + BODY
    assert exchange(port, ten)[0] == 200
    assert exchange(port, head("X-Large: " + "x" * 70_000))[0] == 431
    assert exchange(port, b"POST /" + b"x" * 70_000)[0] == 431


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_on_the_wire_is_405(port: int, method: str) -> None:
    """Also with a body, also for OPTIONS, which Flask would answer by itself."""
    raw = head(f"Content-Length: {len(BODY)}", *lines(signed()), method=method) + BODY
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(raw)
        answer = line.recv(65536)
    assert b" 405 " in answer.partition(b"\r\n")[0]
    assert b"Allow: POST\r\n" in answer


@pytest.mark.parametrize(
    "path",
    [
        "/", "/webhooks", "/webhooks/recall/x", "/webhooks//recall", "/..", "/%2e%2e/", "/%00",
        "/%ff", "/webhooks/recall%00", "//evil.example/webhooks/recall", "/api/../webhooks/recall",
    ],
)  # fmt: skip
def test_a_wrong_path_is_404_in_json_and_no_redirect(port: int, path: str) -> None:
    """A redirect would be a failed delivery, and could lead elsewhere."""
    answered, body = exchange(port, head("Content-Length: 0", path=path))
    # A browser's GET of the root leads to the console.
    assert answered == (405 if path == "/" else 404)
    assert json.loads(body)["status"] == answered


@pytest.mark.parametrize("path", [f"{PATH}/", f"{PATH}?x=1", f"{PATH}?x=%00%ff"])
def test_a_slash_or_a_query_is_the_same_address(port: int, path: str) -> None:
    """Never a 308."""
    raw = head(f"Content-Length: {len(BODY)}", *lines(signed()), path=path) + BODY
    assert exchange(port, raw)[0] == 200


def test_a_body_that_never_comes_delays_nobody(port: int) -> None:
    """More was promised than sent, then silence: a connection is held, no thread is."""
    held = []
    for _ in range(40):
        line = socket.create_connection(("127.0.0.1", port), timeout=10)
        line.sendall(head("Content-Length: 1000", *lines(signed())) + BODY)
        held.append(line)
    started = time.monotonic()
    raw = head(f"Content-Length: {len(BODY)}", *lines(signed())) + BODY
    assert exchange(port, raw)[0] == 200
    assert time.monotonic() - started < 5
    for line in held:
        line.close()


def test_what_was_stored_stays_when_the_sender_is_gone(port: int, database: Path) -> None:
    """It hung up before the answer, and comes again: the same message, one row, two copies."""
    headers = signed(message_id="msg_gone")
    raw = head(f"Content-Length: {len(BODY)}", *lines(headers)) + BODY
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(raw)
        # A reset, as from a sender that died.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until(lambda: copies(database, "msg_gone") == 1, "the row")
    answered, body = exchange(port, raw)
    assert (answered, json.loads(body)["outcome"]) == (200, "duplicate")
    assert copies(database, "msg_gone") == 2


def copies(database: Path, message_id: str) -> int:
    """How often a message is on file as having come."""
    with sqlite3.connect(database) as connection:
        found = connection.execute("SELECT copies FROM deliveries WHERE id = ?", [message_id])
        row = found.fetchone()
    connection.close()
    return row[0] if row else 0


header_bytes = st.binary(max_size=30).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b""))


@settings(max_examples=150)
@given(
    first=st.sampled_from([b"POST /webhooks/recall HTTP/1.1", b"GET /api/links HTTP/1.1"])
    | st.binary(max_size=40),
    odd=st.lists(st.tuples(header_bytes, header_bytes), max_size=4),
    body=st.binary(max_size=60),
)
def test_no_bytes_are_a_fault_of_ours(
    port: int, first: bytes, odd: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """Whatever a stranger sends: an answer below 500 (or the server's own 501, 505), or none."""
    fields = [b"%b: %b" % pair for pair in odd]
    raw = b"\r\n".join([first, b"Content-Length: %d" % len(body), *fields, b"", body])
    try:
        answered, _ = exchange(port, raw, seconds=0.2)
    except (TimeoutError, ConnectionResetError):
        return
    assert answered < 500 or answered in (501, 505)


def test_a_get_with_an_odd_query_is_no_fault_of_ours(port: int) -> None:
    """Bytes that are no UTF-8 in a parameter's name or value are a 400, which is the caller's."""
    token = "Authorization: Bearer read-token-0123456"
    for query in (
        "%ff=1",
        "title=%ff",
        "title=%ed%a0%80",
        "cursor=%F0%9F",
        "limit=%D9%A1",
        "=",
        "&&",
    ):
        answered, _ = exchange(port, head(token, method="GET", path=f"/api/links?{query}"))
        assert answered in (200, 400), query
