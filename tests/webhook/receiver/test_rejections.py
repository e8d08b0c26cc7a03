"""The ledger of refused requests: off the request path, a few a second, ten thousand at most."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, insert, text

from models.tables.base import db_now
from models.tables.hourly_count import TOTAL, HourlyCount
from models.tables.rejection import Rejection
from tests.support.processes import until
from tests.support.rows import count, rows
from webhook.receiver.rejections import (
    LARGEST_BODY,
    MOST_ROWS,
    MOST_WAITING,
    ROWS_A_SECOND,
    RejectedRequest,
    RejectionWriter,
    trim,
)

MakeWriter = Callable[[], RejectionWriter]


@pytest.fixture
def make_writer(engine: Engine) -> Iterator[MakeWriter]:
    """Make a writer, and end its thread after the test."""
    made: list[RejectionWriter] = []

    def make() -> RejectionWriter:
        made.append(RejectionWriter(engine))
        return made[-1]

    yield make
    for one in made:
        one.close()


def rejected(body: bytes = b"{}", reason: str = "no_matching_signature") -> RejectedRequest:
    """A request that was not proved to be Recall's."""
    return RejectedRequest(reason, "203.0.113.7", "msg_1", {"webhook-id": "msg_1"}, body)


def total(engine: Engine, name: str) -> int:
    """How often something was counted in all."""
    return sum(row.count for row in rows(engine, HourlyCount, name=name, hour=TOTAL))


def fill_ledger(engine: Engine, number: int) -> None:
    """Put so many refused requests into the ledger."""
    row = {"reason": "missing_header", "headers": {}, "body": b"old"}
    with engine.begin() as connection:
        statement = insert(Rejection).values(received_at=db_now(), **row)
        connection.execute(statement, [{} for _ in range(number)])


def test_a_refused_request_is_kept_as_it_came(engine: Engine, make_writer: MakeWriter) -> None:
    """With what a re-check needs: headers and body to the byte."""
    writer = make_writer()
    writer.reject(rejected(b"\x00\xff{"))
    writer.flush()
    (row,) = rows(engine, Rejection)
    assert (row.reason, row.remote_addr, row.message_id) == (
        "no_matching_signature",
        "203.0.113.7",
        "msg_1",
    )
    assert (row.headers, row.body, row.resolved_at) == ({"webhook-id": "msg_1"}, b"\x00\xff{", None)


def test_refusing_waits_for_no_database(engine: Engine, make_writer: MakeWriter) -> None:
    """A locked table delays the ledger's thread, and nobody who asks."""
    writer = make_writer()
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("LOCK TABLE rejections IN ACCESS EXCLUSIVE MODE"))
        # On SQLite the transaction itself holds the one write lock there is.
        started = time.monotonic()
        for _ in range(1000):
            writer.reject(rejected())
        assert time.monotonic() - started < 2
    assert count(engine, Rejection) == 0


def test_a_flood_is_kept_at_a_few_rows_a_second(engine: Engine, make_writer: MakeWriter) -> None:
    """Each second's flush takes five; what no longer fits the queue is counted, not kept."""
    writer = make_writer()
    # Its own thread is left out: the seconds here are the test's.
    writer._closed.set()
    for _ in range(3000):
        writer.reject(rejected())
    for second in range(1, 4):
        writer.flush()
        assert count(engine, Rejection) == second * ROWS_A_SECOND
    assert total(engine, "rejection") == 3000
    assert total(engine, "rejection_not_kept") == 3000 - MOST_WAITING


def test_the_scribes_thread_writes_a_second_apart(engine: Engine, make_writer: MakeWriter) -> None:
    """By itself, from the first refusal on, and never faster than its rate."""
    writer = make_writer()
    started = time.monotonic()
    for _ in range(2 * ROWS_A_SECOND + 1):
        writer.reject(rejected())
    until(lambda: count(engine, Rejection) == 2 * ROWS_A_SECOND + 1, "the third flush", 20)
    assert time.monotonic() - started >= 2.5


def test_the_ledger_never_holds_more_than_ten_thousand(
    engine: Engine, make_writer: MakeWriter
) -> None:
    """The oldest go in the transaction that brings the newest."""
    fill_ledger(engine, MOST_ROWS)
    writer = make_writer()
    for number in range(ROWS_A_SECOND):
        writer.reject(rejected(b"new %d" % number))
    writer.flush()
    assert count(engine, Rejection) == MOST_ROWS
    newest = [row.body for row in rows(engine, Rejection)[-ROWS_A_SECOND:]]
    assert newest == [b"new %d" % number for number in range(ROWS_A_SECOND)]


def test_a_ledger_that_is_not_full_is_not_trimmed(engine: Engine) -> None:
    """Ten thousand may stay."""
    fill_ledger(engine, 3)
    with engine.begin() as connection:
        trim(connection)
    assert count(engine, Rejection) == 3


def test_a_large_body_is_neither_kept_nor_held_in_memory(
    engine: Engine, make_writer: MakeWriter
) -> None:
    """A flood of megabytes that wait for their turn would be a stranger's way to fill us."""
    writer = make_writer()
    writer.reject(rejected(b"x" * LARGEST_BODY))
    writer.reject(rejected(b"x" * (LARGEST_BODY + 1)))
    held = [one.body for one in list(writer._waiting.queue)]
    assert [body and len(body) for body in held] == [LARGEST_BODY, None]
    writer.flush()
    assert [row.body is None for row in rows(engine, Rejection)] == [False, True]


def test_a_database_that_fails_ends_no_thread_and_loses_no_count(
    engine: Engine, make_writer: MakeWriter
) -> None:
    """The junk is lost, the counts are written later."""
    writer = make_writer()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE tallies RENAME TO elsewhere"))
    writer.reject(rejected())
    writer.flush()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO tallies"))
    writer.reject(rejected())
    writer.flush()
    assert total(engine, "rejection") == 2
    assert count(engine, Rejection) == 1


def test_closing_writes_what_is_left(engine: Engine, make_writer: MakeWriter) -> None:
    """A stop loses none of the counts, and ends the thread."""
    writer = make_writer()
    for _ in range(7):
        writer.count("delivery", "accepted")
    writer.close()
    assert total(engine, "delivery") == 7
    assert "writer" not in {thread.name for thread in threading.enumerate()}
