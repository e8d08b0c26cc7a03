"""The tray: many results in one transaction, and none that waits while nobody else works."""

import math

from tests.fakes import START, a_claim
from tests.lab.clock import ManualClock
from workers.claims import LinkResult
from workers.errors import Endpoint, Fault, RecallError
from workers.tray import RIPE_SECONDS, Tray


def result(failure: RecallError | None = None) -> LinkResult:
    """What came of some bot."""
    return LinkResult(a_claim(), START, START, calls=(), failure=failure)


def test_a_bot_that_is_linked_alone_is_settled_at_once() -> None:
    """An idle system waits for nothing."""
    tray = Tray(8, ManualClock(0.0))
    tray.put(result())
    assert tray.is_ripe(working=0)


def test_a_result_waits_for_others_but_not_for_long() -> None:
    """As long as bots are under way, and a fifth of a second at most."""
    clock = ManualClock(0.0)
    tray = Tray(8, clock)
    tray.put(result())
    assert not tray.is_ripe(working=3)
    clock.advance(RIPE_SECONDS / 2)
    tray.put(result())
    assert not tray.is_ripe(working=2)
    clock.advance(RIPE_SECONDS / 2)
    assert tray.is_ripe(working=2)
    assert len(tray.empty()) == 2
    assert not tray.is_ripe(working=2)
    assert tray.ripe_at == math.inf


def test_a_full_tray_is_ripe() -> None:
    """Before its time."""
    tray = Tray(2, ManualClock(0.0))
    tray.put(result())
    tray.put(result())
    assert tray.is_ripe(working=30)


def test_a_failure_is_written_at_once() -> None:
    """It may open the circuit or close a bucket for everybody."""
    tray = Tray(8, ManualClock(0.0))
    tray.put(result(RecallError(Fault.WORKSPACE, Endpoint.BOT, status=401)))
    assert tray.is_ripe(working=30)
    tray.empty()
    tray.put(result())
    assert not tray.is_ripe(working=30)


def test_an_empty_tray_is_ripe_only_for_what_was_noted() -> None:
    """A minted token is stored by and by, results or not."""
    clock = ManualClock(0.0)
    tray = Tray(8, clock)
    clock.advance(60)
    assert not tray.is_ripe(working=0)
    tray.note()
    assert not tray.is_ripe(working=0)
    clock.advance(RIPE_SECONDS)
    assert tray.is_ripe(working=0)
