"""The crew: what waits for a thread can be had back, and an old turn is not used."""

import queue
import threading

import pytest

from tests.fakes import START, a_claim
from workers.claims import LinkResult
from workers.crew import TURN_SECONDS, Crew, Handed


def test_what_no_thread_has_begun_is_had_back() -> None:
    """The one that is under way is finished, the others are nobody's fault."""
    begun, may_end = threading.Event(), threading.Event()
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()

    def link(handed: Handed) -> LinkResult:
        begun.set()
        may_end.wait(10)
        return LinkResult(handed.claim, START, START, calls=())

    crew = Crew(1, link, inbox)
    for turn in range(3):
        crew.hand(a_claim(bot_id=f"bot-{turn}"), turn + 1)
    assert begun.wait(10)
    assert [claim.bot_id for claim in crew.take_back()] == ["bot-1", "bot-2"]
    assert crew.take_back() == []
    may_end.set()
    result = inbox.get(timeout=10)
    assert isinstance(result, LinkResult)
    assert result.claim.bot_id == "bot-0"
    crew.dismiss()


def test_a_turn_is_good_for_less_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later it would count into another minute than the one it was taken from."""
    handed = Handed(a_claim(), at=100.0)
    for waited, has_turn in ((0.0, True), (TURN_SECONDS - 0.01, True), (TURN_SECONDS, False)):
        monkeypatch.setattr("workers.crew.time.monotonic", lambda now=100.0 + waited: now)
        assert handed.has_turn is has_turn
