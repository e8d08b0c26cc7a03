"""A request's bytes: each refused or taken for what it is, at a bounded cost, however it is cut."""

from io import BytesIO

import pytest
import waitress
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer

from webhook.serving.body_buffer import SMALL_BYTES, Room
from webhook.serving.chunked import CHUNKS_TO_SPARE, LONGEST_LINE, MOST_TRAILERS, ChunkedBody
from webhook.serving.http_parser import Refusal, RequestParser

MOST_BYTES = 5000
GOOD_CHUNKS = [
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"2\r\nhe\r\n0003\r\nllo\r\n000\r\n\r\n",
    b"A;name=value\r\n0123456789\r\n0 \r\n\r\n",
    b'a ; name="a b"\r\n0123456789\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n',
    b"1388\r\n" + b"x" * MOST_BYTES + b"\r\n0\r\n\r\n",
]
BAD_CHUNKS = [
    (b"\r\n0\r\n\r\n", 400),
    (b"x\r\n", 400),
    (b"-1\r\n", 400),
    (b"+1\r\na\r\n", 400),
    (b"0x1\r\na\r\n", 400),
    (b"1_0\r\n", 400),
    (b" 1\r\na\r\n", 400),
    (b"1\na\r\n", 400),
    (b"1;\x00\r\n", 400),
    (b"1\r\nab\r\n", 400),
    (b"1\r\na\n0\r\n\r\n", 400),
    (b"0" * 17 + b"\r\n\r\n", 400),
    (b"0" * 1_000_000, 400),
    (b"1;" + b"x" * 1_000_000, 400),
    (b"0\r\n" + b"x" * 1_000_000, 400),
    (b"0\r\n" + b"a: b\r\n" * (MOST_TRAILERS + 1) + b"\r\n", 400),
    (b"1\r\na\r\n" * (CHUNKS_TO_SPARE + 5) + b"0\r\n\r\n", 400),
    (b"1389\r\n", 413),
    (b"f" * 16 + b"\r\n", 413),
    (b"1388\r\n" + b"x" * MOST_BYTES + b"\r\n1\r\n", 413),
]


def read(raw: bytes, size: int) -> tuple[ChunkedBody, int, bytes]:
    """Feed a body in pieces of so many bytes: the reader, how much it took, and what it kept."""
    buffer = OverflowableBuffer(100_000)
    body = ChunkedBody(buffer, MOST_BYTES)
    taken = 0
    while taken < len(raw) and not body.completed and body.error is None:
        taken += body.received(raw[taken : taken + size])
    return body, taken, buffer.get()


@pytest.mark.parametrize("size", [1, 2, 3, 8192])
@pytest.mark.parametrize("raw", GOOD_CHUNKS)
def test_chunks_are_a_body_however_they_are_cut(raw: bytes, size: int) -> None:
    """What follows them is the next request's."""
    body, taken, kept = read(raw + b"GET / HTTP/1.1", size)
    assert (body.completed, body.error, taken) == (True, None, len(raw))
    expected = {0: b"", 10: b"0123456789", 5: b"hello", MOST_BYTES: b"x" * MOST_BYTES}
    assert kept == expected[len(kept)]
    assert len(body) == len(kept)


@pytest.mark.parametrize("size", [1, 3, 8192])
@pytest.mark.parametrize(("raw", "status"), BAD_CHUNKS)
def test_broken_or_endless_framing_is_refused_early(raw: bytes, status: int, size: int) -> None:
    """By what was read so far: at most a line more than what is allowed."""
    body, taken, _ = read(raw, size)
    assert body.error is not None
    assert (body.error.code, body.completed) == (status, False)
    assert taken <= MOST_BYTES + 10 * CHUNKS_TO_SPARE + LONGEST_LINE + size


def parsed(raw: bytes, size: int = 8192) -> RequestParser:
    """Feed one request in pieces."""
    parser = RequestParser(Adjustments(), MOST_BYTES, Room())
    for place in range(0, len(raw), size):
        parser.received(raw[place : place + size])
        if parser.completed:
            break
    return parser


BAD_HEADS = [
    b"GET http://[/webhooks/recall HTTP/1.1\r\n\r\n",
    b"GET http://[::1/x HTTP/1.1\r\n\r\n",
    b"GET //[ HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"GET http://[v1]x/ HTTP/1.1\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\n\r\n",
    b"GET /\x7f HTTP/1.1\r\n\r\n",
    b"GET /\x0b HTTP/1.1\r\n\r\n",
    b"GET /a b HTTP/1.1\r\n\r\n",
    b"get / HTTP/1.1\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/one\r\n\r\n",
    b"GET / HTTP/1.1\rX: y\r\n\r\n",
    b"\x16\x03\x01\r\n\r\n",
    b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nX : y\r\n\r\n",
    b"GET / HTTP/1.1\r\n: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nX\x00: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: a\nY: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n folded: first\r\n\r\n",
    *(
        b"POST / HTTP/1.1\r\nContent-Length: %b\r\n\r\n" % length
        for length in (
            b"9" * 5000, b"0" * 5000 + b"5", b"-1", b"+7", b"5x", b"7, 7",
            b"7\r\nContent-Length: 8", b"1e3", b"0x5", b"1_0", b"5 5", b"\xb2", b"",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("raw", BAD_HEADS)
@pytest.mark.parametrize("size", [7, 8192])
def test_a_head_that_cannot_be_read_is_400(raw: bytes, size: int) -> None:
    """And nothing else: whatever a library of Python's raised over it."""
    parser = parsed(raw, size)
    assert parser.completed
    assert isinstance(parser.error, Refusal)
    assert parser.error.code == 400
    # What waitress logs of a request has these, whatever was read of it.
    assert isinstance(parser.path, str)
    assert isinstance(parser.version, str)
    status, headers, body = parser.error.to_response(None)
    assert (status, headers[0][1]) == ("400 Bad Request", "application/json")
    assert b"bad_request" in body


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/webhooks/recall", "/webhooks/recall"),
        ("http://x/webhooks/recall", "/webhooks/recall"),
        ("http://[::1]:80/webhooks/recall?x=[", "/webhooks/recall"),
        ("/[", "/["),
        ("/%00", "/\x00"),
        ("*", "*"),
    ],
)
def test_an_odd_target_that_can_be_read_is_read(target: str, path: str) -> None:
    """The absolute form as well, which a proxy sends."""
    parser = parsed(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert parser.error is None
    assert parser.path == path


@pytest.mark.parametrize("size", [MOST_BYTES - 1, MOST_BYTES, MOST_BYTES + 1])
def test_a_length_over_the_limit_is_413_before_any_body(size: int) -> None:
    """To the byte; what is allowed is waited for."""
    parser = parsed(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
    assert parser.completed == (size > MOST_BYTES)
    assert getattr(parser.error, "code", None) == (413 if size > MOST_BYTES else None)


def test_large_bodies_share_their_room_and_small_ones_need_none() -> None:
    """Whoever finds it taken comes again; what is over gives it back, however it ends."""
    room = Room(4 * SMALL_BYTES)
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
    size = 3 * SMALL_BYTES

    def started() -> RequestParser:
        parser = RequestParser(Adjustments(), size, room)
        parser.received(head % size)
        parser.received(b"x" * (size - 1))
        return parser

    first, second = started(), started()
    assert first.error is None
    assert second.error is not None
    assert second.error.to_response(None)[0] == "503 Service Unavailable"
    small = RequestParser(Adjustments(), size, room)
    small.received(head % SMALL_BYTES)
    small.received(b"x" * SMALL_BYTES)
    assert (small.completed, small.error) == (True, None)
    first.close()
    first.close()
    third = started()
    assert third.error is None
    del third
    assert started().error is None


def test_the_last_request_of_a_connection_ends_it() -> None:
    """What was sent after it is no request of ours."""
    parser = RequestParser(Adjustments(), MOST_BYTES, Room(), is_last=True)
    two = b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"
    assert parser.received(two) == len(two)
    assert (parser.path, parser.headers["CONNECTION"]) == ("/1", "close")


def test_waitress_is_what_our_parts_of_it_are_written_for() -> None:
    """Each name of its inside that we use; another release may have none of them."""
    channel = waitress.channel.HTTPChannel
    for name in ("_flush_exception", "_flush_some", "_flush_some_if_lockable", "handle_write"):
        assert callable(getattr(channel, name))
    for name in ("will_close", "close_when_flushed", "total_outbufs_len", "request"):
        assert not getattr(channel, name)
    for name in ("parser_class", "task_class", "received", "service", "send_continue"):
        assert hasattr(channel, name)
    parser = waitress.parser.HTTPRequestParser(Adjustments())
    for name in ("body_rcv", "error", "completed", "empty", "expect_continue", "chunked"):
        assert not getattr(parser, name)
    assert parser.content_length == 0
    for name in ("recv", "handle_close", "add_channel", "del_channel"):
        assert callable(getattr(wasyncore.dispatcher, name))
    assert isinstance(OverflowableBuffer(10).getfile(), BytesIO)
