"""Webhooks that arrive together: one thread, one commit, and an answer for each of them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast

import httpx
import psycopg
import pytest
from waitress.task import ThreadedTaskDispatcher

from tests.conftest import SECRET, MakeSettings, new_database
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery
from tests.lab.sender.events import lifecycle
from tests.lab.sender.sender import Sender
from tests.support.processes import environ_for, until, web_alone
from webhook.receiver.batch_wait import current_batch_greenlet, wait_for_batch
from webhook.receiver.insert import MOST_ROWS, Outcome, Row, Stored
from webhook.receiver.storage import DatabaseAwayError, Inbox
from webhook.serving.batch_dispatcher import BatchDispatcher

PATH = "/webhooks/recall"


@dataclass
class Request:
    """What waitress has read."""

    path: str = PATH
    error: object = None


@dataclass
class FakeInbox:
    """Notes its batches, and waits before each as long as it is told."""

    go: threading.Event = field(default_factory=threading.Event)
    batches: list[list[Row]] = field(default_factory=list)
    error: Exception | None = None

    def store_all(self, rows: Sequence[Row], until: float) -> list[Outcome]:
        """Store nothing."""
        self.batches.append(list(rows))
        assert self.go.wait(10)
        if self.error:
            raise self.error
        return [Stored(row["copies"], is_same_body=True) for row in rows]


class FakeChannel:
    """A connection with one request, which does as it is told."""

    def __init__(self, work: Callable[[], Any], path: str = PATH) -> None:
        self.requests = [Request(path)]
        self.done = threading.Event()
        self.outcome: Any = None
        self.thread = ""
        self.is_cancelled = False
        self._work = work

    def service(self) -> None:
        """Run the request."""
        self.thread = threading.current_thread().name
        try:
            self.outcome = self._work()
        finally:
            self.done.set()

    def cancel(self) -> None:
        """Give it up."""
        self.is_cancelled = True


def store(copies: int) -> Outcome:
    """Store a row from within a request, as the inbox does."""
    waiter = current_batch_greenlet()
    assert waiter is not None
    outcome: Outcome = wait_for_batch(waiter, {"copies": copies})
    return outcome


@dataclass
class Rig:
    """A dispatcher with its fakes."""

    inbox: FakeInbox
    dispatcher: BatchDispatcher
    pulls: list[str]

    def serve(self, *channels: FakeChannel) -> None:
        """Let these arrive in one turn of the main loop."""
        for channel in channels:
            self.dispatcher.add_task(channel)
        self.dispatcher.flush()


def has_batches(rig: Rig, count: int) -> bool:
    """Whether so many are in their commit, or through it."""
    return len(rig.inbox.batches) == count


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A dispatcher over a fake inbox; its threads end with the test."""
    inbox, pulls = FakeInbox(), list[str]()
    threads = ThreadedTaskDispatcher()
    threads.set_thread_count(1)

    def pull() -> None:
        pulls.append(threading.current_thread().name)

    rig = Rig(inbox, BatchDispatcher(threads, PATH, cast("Inbox", inbox), pull), pulls)
    yield rig
    inbox.go.set()
    rig.dispatcher.shutdown(timeout=5)


def test_what_arrives_together_is_stored_together_and_told_apart(rig: Rig) -> None:
    """One thread runs them all, and one statement stores them."""
    channels = [FakeChannel(partial(store, n)) for n in range(1, 6)]
    rig.inbox.go.set()
    rig.serve(*channels)
    assert all(channel.done.wait(5) for channel in channels)
    assert [len(batch) for batch in rig.inbox.batches] == [5]
    assert [channel.outcome.copies for channel in channels] == [1, 2, 3, 4, 5]
    assert len({channel.thread for channel in channels}) == 1


def test_the_main_loop_is_woken_once_for_a_batch(rig: Rig) -> None:
    """A wake-up for each answer costs more than the answer."""
    rig.inbox.go.set()

    def work() -> None:
        store(1)
        rig.dispatcher.pull_trigger()

    rig.serve(*(FakeChannel(work) for _ in range(5)))
    until(lambda: len(rig.pulls) == 1, "the wake-up")
    rig.dispatcher.pull_trigger()
    assert rig.pulls[1:] == [threading.current_thread().name]


def test_a_batch_has_a_most_and_a_second_thread_takes_the_rest(rig: Rig) -> None:
    """Neither waits for the other's commit."""
    channels = [FakeChannel(lambda: store(1)) for _ in range(MOST_ROWS + 3)]
    rig.serve(*channels)
    rig.serve()
    until(lambda: len(rig.inbox.batches) == 2, "two batches")
    assert sorted(len(batch) for batch in rig.inbox.batches) == [3, MOST_ROWS]
    rig.inbox.go.set()
    assert all(channel.done.wait(5) for channel in channels)


def test_what_arrives_during_a_commit_is_the_next_batch(rig: Rig) -> None:
    """With every thread in a commit, the others gather."""
    for number in range(4):
        rig.serve(FakeChannel(lambda: store(1)))
        until(partial(has_batches, rig, number + 1), "one more commit")
    late = [FakeChannel(lambda: store(1)) for _ in range(6)]
    for channel in late:
        rig.serve(channel)
    rig.inbox.go.set()
    assert all(channel.done.wait(5) for channel in late)
    assert [len(batch) for batch in rig.inbox.batches] == [1, 1, 1, 1, 6]


def test_a_request_that_fails_takes_no_other_with_it(rig: Rig) -> None:
    """Whether before or after the commit; the thread goes on as well."""
    rig.inbox.go.set()

    def fail_after() -> None:
        store(1)
        raise SystemExit

    good = FakeChannel(lambda: store(2))
    rig.serve(FakeChannel(lambda: 1 // 0), FakeChannel(fail_after), good)
    assert good.done.wait(5)
    assert good.outcome.copies == 2
    again = FakeChannel(lambda: store(3))
    rig.serve(again)
    assert again.done.wait(5)
    assert again.outcome.copies == 3


def test_a_batch_that_fails_is_told_to_each_of_it(rig: Rig) -> None:
    """Nobody waits for ever."""
    rig.inbox.error = RuntimeError("a bug")
    rig.inbox.go.set()
    channels = [FakeChannel(lambda: store(1)) for _ in range(3)]
    rig.serve(*channels)
    assert all(channel.done.wait(5) for channel in channels)
    assert {str(channel.outcome) for channel in channels} == {"a bug"}


def test_a_request_may_store_twice(rig: Rig) -> None:
    """The second goes with the second of whoever else has one."""
    rig.inbox.go.set()
    channels = [FakeChannel(lambda: [store(1), store(2)]) for _ in range(3)]
    rig.serve(*channels)
    assert all(channel.done.wait(5) for channel in channels)
    assert [len(batch) for batch in rig.inbox.batches] == [3, 3]


def test_other_paths_and_broken_requests_go_to_waitress_threads(rig: Rig) -> None:
    """A slow page is in no webhook's way, nor the other way about."""
    other = FakeChannel(current_batch_greenlet, "/console/")
    broken = FakeChannel(current_batch_greenlet)
    broken.requests[0].error = "bad request"
    for channel in (other, broken):
        rig.serve(channel)
        assert channel.done.wait(5)
        assert channel.thread.startswith("waitress")
        assert channel.outcome is None


def test_a_stop_gives_up_what_no_thread_has_begun(rig: Rig) -> None:
    """And ends its threads."""
    late = FakeChannel(lambda: store(1))
    rig.dispatcher.add_task(late)
    rig.dispatcher.shutdown(timeout=5)
    assert late.is_cancelled
    assert not late.done.is_set()


def test_an_outcome_that_is_an_error_is_raised_in_its_request(
    make_settings: MakeSettings, rig: Rig
) -> None:
    """The receiver answers 503 for that one."""
    inbox, raised = Inbox(make_settings()), list[Exception]()
    rig.inbox.error = DatabaseAwayError()
    rig.inbox.go.set()

    def work() -> None:
        with pytest.raises(DatabaseAwayError) as caught:
            inbox.store({"id": "msg_1"})
        raised.append(caught.value)

    channel = FakeChannel(work)
    rig.serve(channel)
    assert channel.done.wait(5)
    inbox.close()
    assert raised == [rig.inbox.error]


def test_a_burst_on_the_real_server_shares_its_commits(
    postgres_url: str, postgres_template: str, tmp_path: Path
) -> None:
    """While the table is locked the webhooks gather; then each is stored and answered 202."""
    with new_database(postgres_url, postgres_template) as url, FakeRecall() as recall:
        environ = environ_for(url, recall)
        with (
            web_alone(environ, tmp_path) as (_, address),
            psycopg.connect(url) as holder,
            psycopg.connect(url, autocommit=True) as reader,
        ):
            holder.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
            sent = [post(address) for _ in range(24)]
            # Whoever is answered now was read after all of them.
            assert httpx.get(f"{address}/healthz").status_code == 200
            holder.rollback()
            assert {line.getresponse().status for line in sent} == {202}
            found = reader.execute("SELECT count(*), count(DISTINCT xmin::text) FROM deliveries")
            rows, commits = found.fetchone() or (0, 0)
            for line in sent:
                line.close()
    assert rows == 24
    assert commits < 12


def post(address: str) -> HTTPConnection:
    """Send a webhook on a connection of its own; its answer is not waited for."""
    delivery = Delivery.of(lifecycle("6a3f5d1c-9a52-4c7e-8a4a-1f2e3d4c5b6a")[-1])
    line = HTTPConnection(address.removeprefix("http://"), timeout=10)
    headers = Sender(f"{address}{PATH}", [SECRET]).headers(delivery)
    line.request("POST", PATH, delivery.body, headers)
    return line
