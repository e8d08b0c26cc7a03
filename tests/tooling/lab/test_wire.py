"""The fake's own HTTP parser takes what real clients send and refuses the rest."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.lab.http.wire import MAX_HEAD, BadRequestError, Parser, Request, Response
from tests.lab.sender.receiver import Receiver

POST = b"POST /x?a=1 HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /x HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;note=1\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Yield a server that answers with what it was asked."""
    with Receiver(lambda request: Response(200, json.dumps(request.target).encode())) as server:
        yield server


@pytest.mark.parametrize("message", [POST, CHUNKED])
def test_a_request_may_come_in_any_pieces(message: bytes) -> None:
    """Byte by byte or at once, the same request comes out, once."""
    parser, found = Parser(), []
    for byte in message:
        parser.feed(bytes((byte,)))
        found.append(parser.next_request())
    whole = Parser()
    whole.feed(message)
    request = whole.next_request()
    assert request is not None
    assert request.body == b"hello"
    assert found == [None] * (len(message) - 1) + [request]
    assert whole.next_request() is None


def test_headers_are_folded_to_lower_case_and_repeats_joined() -> None:
    """Path and query are told apart and decoded."""
    request = _parse(b"GET /a%20b?x=1&x=%2B&y= HTTP/1.1\r\nX-One: 1\r\nx-one:2\r\n\r\n")
    assert request.headers == {"x-one": "1, 2"}
    assert request.path == "/a b"
    assert request.query == [("x", "1"), ("x", "+"), ("y", "")]


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"t" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"t" * MAX_HEAD + b"\r\n\r\n", 431),
    ],
)
def test_nonsense_is_refused_with_a_status(message: bytes, status: int) -> None:
    """The parser says how to refuse; it never guesses."""
    with pytest.raises(BadRequestError) as refusal:
        _parse(message)
    assert refusal.value.status == status


def test_pipelined_requests_are_answered_in_order(receiver: Receiver) -> None:
    """Two requests in one packet get two answers, the connection stays."""
    one, two = POST, POST.replace(b"/x?a=1", b"/second")
    answers = _talk(receiver, one + two, b'"/second"')
    assert answers.index(b'"/x?a=1"') < answers.index(b'"/second"')
    assert len({request.peer for request in receiver.requests}) == 1


@pytest.mark.parametrize(
    "message",
    [
        b"GET /last HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n",
        b"GET /last HTTP/1.0\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_a_connection_closes_when_it_should(receiver: Receiver, message: bytes) -> None:
    """At the client's wish, for HTTP/1.0, and after a request that could not be read."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=5) as connection:
        connection.sendall(message)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 ")
    assert b"\r\nConnection: close\r\n" in answer


def _parse(message: bytes) -> Request:
    parser = Parser()
    parser.feed(message)
    request = parser.next_request()
    assert request is not None
    return request


def _talk(receiver: Receiver, message: bytes, until: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=5) as connection:
        connection.sendall(message)
        answers = b""
        while until not in answers:
            answers += connection.recv(4096)
    return answers
