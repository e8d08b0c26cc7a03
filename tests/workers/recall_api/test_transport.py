"""The transport against servers that send too much, too little, or close connections."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpcore
import httpx
import pytest

from tests.lab.http.wire import Request, Response
from tests.lab.sender.receiver import Receiver
from workers.recall_api.deadline import Deadline, DeadlineStream
from workers.recall_api.transport import CALL_FAILURES, Answer, HttpClient, make_ssl_context

_CONTEXT = make_ssl_context()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


@pytest.fixture
def wire() -> Iterator[HttpClient]:
    """A connection."""
    wire = HttpClient(_CONTEXT)
    yield wire
    wire.close()


@contextmanager
def saying(*lines: Sequence[bytes], hung_up: threading.Event | None = None) -> Iterator[str]:
    """A server: each connection answers its requests from a line of its own, then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answers in lines:
                connection, _ = listener.accept()
                with connection:
                    for answer in answers:
                        connection.recv(65536)
                        connection.sendall(answer)
                if hung_up is not None:
                    hung_up.set()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)
        assert not thread.is_alive(), "a connection that was expected did not come"


def get(wire: HttpClient, url: str, **headers: str) -> Answer:
    """One call of five seconds at most."""
    return wire.call("GET", f"{url}/x", headers, seconds=5)


def test_an_answer_nobody_asked_for_is_nobodys(wire: HttpClient) -> None:
    """Two answers to one call: the next call does not get the surplus one."""
    with saying([OK + b"AA" + OK + b"BB"], [OK + b"CC"]) as url:
        assert get(wire, url).body == b"AA"
        assert get(wire, url).body == b"CC"


def test_a_connection_that_was_closed_meanwhile_is_made_anew(wire: HttpClient) -> None:
    """Servers close idle ones: that is no failure of the next call."""
    hung_up = threading.Event()
    with saying([OK + b"AA"], [OK + b"BB"], hung_up=hung_up) as url:
        assert get(wire, url).body == b"AA"
        assert hung_up.wait(5)
        assert get(wire, url).body == b"BB"


def test_a_connection_that_is_to_close_is_not_used_again(wire: HttpClient) -> None:
    """Also where the server has not closed it yet."""
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nAA"
    with saying([last, b""], [OK + b"BB"]) as url:
        assert get(wire, url).body == b"AA"
        assert get(wire, url).body == b"BB"


def test_one_connection_is_kept_for_one_origin() -> None:
    """Calls to the same place share it, also after one to another place."""
    with (
        Receiver(lambda _: Response(200, b"one")) as one,
        Receiver(lambda _: Response(200, b"two")) as two,
    ):
        wire = HttpClient(_CONTEXT)
        said = [get(wire, url).body for url in (one.url, one.url, two.url, one.url)]
        wire.close()
        assert said == [b"one", b"one", b"two", b"one"]
        assert len({request.peer for request in one.requests}) == 1


@pytest.mark.parametrize("host", ["999.999.999.999", "a..example", "[::1::1]"])
def test_a_host_that_cannot_be_is_a_failed_call(wire: HttpClient, host: str) -> None:
    """Like one that does not answer: who calls knows no other failure."""
    with pytest.raises(CALL_FAILURES):
        get(wire, f"http://{host}:1/")


def test_words_before_the_answer_are_passed_over(wire: HttpClient) -> None:
    """Early hints are not the answer."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    with saying([hints + hints + OK + b"AA"]) as url:
        answer = get(wire, url)
    assert (answer.status, answer.body) == (200, b"AA")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        OK + b"A",
        OK.replace(b"2", b"2\r\nContent-Length: 3"),
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_whole_answer_is_an_error_that_names_itself(
    wire: HttpClient, said: bytes
) -> None:
    """Of the network, not of time; and the next call gets a connection of its own."""
    with saying([said], [OK + b"AA"]) as url:
        with pytest.raises(httpx.TransportError, match=r"\w") as caught:
            get(wire, url)
        assert not isinstance(caught.value, httpx.TimeoutException)
        assert get(wire, url).body == b"AA"


def test_a_header_that_cannot_be_sent_is_not_shown(wire: HttpClient) -> None:
    """It may be the key; and none of it leaves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(httpx.LocalProtocolError) as caught:
            get(wire, url, authorization="Token sécret")
        assert "cret" not in str(caught.value)
        for key in ("Token s\x00cret", "Token s\r\nX: cret"):
            with pytest.raises(httpx.LocalProtocolError) as caught:
                get(wire, url, authorization=key)
            assert "cret" not in str(caught.value)
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(65536) == b""


def test_a_place_that_is_none_is_an_error_too(wire: HttpClient) -> None:
    """A base URL out of a setting: no port, or a name no resolver takes."""
    for url in (
        "http://127.0.0.1:99999",
        "http://127.0.0.1:x",
        f"http://{'x' * 70}.test",
        "ftp://x",
    ):
        with pytest.raises((httpx.TransportError, httpx.InvalidURL)):
            get(wire, url)


def test_a_target_is_sent_as_it_came_or_escaped() -> None:
    """Recall's own links to next pages may hold what no request line can."""
    asked: list[str] = []

    def react(request: Request) -> Response:
        asked.append(request.target)
        return Response(200, b"{}")

    with Receiver(react) as receiver:
        wire = HttpClient(_CONTEXT)
        for tail in ("/a%2Eb/?x=1%20+&y=é ü", "?z=[1]", ""):
            wire.call("POST", receiver.url + tail, {}, {"ü": 1}, seconds=5)
        wire.close()
        assert asked == ["/a%2Eb/?x=1%20+&y=%C3%A9%20%C3%BC", "/?z=[1]", "/"]
        assert receiver.requests[0].body == '{"ü":1}'.encode()
        assert receiver.requests[0].headers["content-type"] == "application/json"


def test_chunks_end_an_answer_too(wire: HttpClient) -> None:
    """The connection is used again; with bytes behind the last chunk it is given up."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nAA\r\n0\r\n\r\n"
    with saying([chunked, chunked, chunked + OK], [OK + b"BB"]) as url:
        assert [get(wire, url).body for _ in range(4)] == [b"AA", b"AA", b"AA", b"BB"]


def test_a_connection_with_a_surplus_answer_begins_no_other_call() -> None:
    """Even if another thread got it just before it was closed."""
    deadline = Deadline()
    deadline.start(5)
    stream = DeadlineStream(httpcore.MockStream([OK + b"AA" + OK + b"BB"]), deadline)
    stream.write(b"GET /a")
    stream.read(65536)
    stream.finish([b"2"])
    with pytest.raises(httpcore.ConnectionNotAvailable):
        stream.write(b"GET /b")


def test_a_status_is_told_without_reading_the_body(wire: HttpClient) -> None:
    """Its connection is not used again: what is left of the body would be the next answer."""
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n" + b"x" * 1000
    with saying([endless], [OK + b"BB"]) as url:
        assert wire.status("POST", url, {"text": "é"}, seconds=5) == 200
        assert get(wire, url).body == b"BB"
