"""The link threads: few are started, none is lost, and an old turn is not used."""

import queue
import threading

import pytest

from tests.support.fakes import START, a_claim
from workers.linking.thread_pool import TURN_SECONDS, Handed, LinkThreadPool
from workers.linking.types import LinkResult


def test_a_thread_is_started_only_for_a_claim_that_needs_one() -> None:
    """An idle drain keeps one, and a bug in linking costs no thread."""
    names: list[str] = []
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()

    def link(handed: Handed) -> LinkResult:
        names.append(threading.current_thread().name)
        if handed.claim.bot_id == "bot-0":
            raise LookupError
        return LinkResult(handed.claim, START, START, calls=())

    pool = LinkThreadPool(4, link, inbox)
    results = []
    for turn in range(3):
        pool.hand(a_claim(bot_id=f"bot-{turn}"), working=1)
        results.append(inbox.get(timeout=10))
    pool.dismiss()
    assert len(set(names)) == 1
    assert [one.failure is None for one in results if isinstance(one, LinkResult)] == [
        False,
        True,
        True,
    ]


def test_a_turn_is_good_for_less_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later it would count towards another minute at Recall."""
    handed = Handed(a_claim(), at=100.0)
    for waited, has_turn in ((0.0, True), (TURN_SECONDS - 0.01, True), (TURN_SECONDS, False)):
        monkeypatch.setattr(
            "workers.linking.thread_pool.time.monotonic", lambda now=100.0 + waited: now
        )
        assert handed.has_turn is has_turn
