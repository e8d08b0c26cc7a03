"""The log lines about a Redis that fails, or comes and goes."""

import pytest
import redis
from structlog.testing import CapturedCall, CapturingLogger

from tests.lab.world.clock import ManualClock
from workers.queue.redis_news import QUIET_SECONDS, RedisNews

REFUSED = redis.ConnectionError("Error 111 connecting to h:1. Connection refused.")
FULL = redis.ResponseError("OOM command not allowed when used memory > 'maxmemory'.")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[CapturedCall]:
    """What is logged; structlog's own capture does not hear a logger that was used before."""
    heard = CapturingLogger()
    monkeypatch.setattr("workers.queue.redis_news.logger", heard)
    return heard.calls


@pytest.fixture
def clock() -> ManualClock:
    """Moved by the test."""
    return ManualClock(0.0)


def test_a_lasting_outage_is_logged_once(clock: ManualClock, calls: list[CapturedCall]) -> None:
    """Its reason, what to do, and later that it is over."""
    news = RedisNews("waiting", clock)
    for failure in (None, REFUSED, REFUSED, FULL, FULL, None, None):
        clock.advance(QUIET_SECONDS)
        news.note(failure)
    told = [(call.args[0], call.kwargs.get("reason")) for call in calls]
    full = "OOM command not allowed when used memory > 'maxmemory'"
    assert told == [("waiting", "Connection refused"), ("waiting", full), ("Redis is back", None)]
    assert "more memory" in calls[1].kwargs["remedy"]


def test_a_redis_that_comes_and_goes_fills_no_log(
    clock: ManualClock, calls: list[CapturedCall]
) -> None:
    """One line in five seconds, and at the end the current state."""
    news = RedisNews("waiting", clock)
    for _ in range(100):
        news.note(REFUSED)
        news.note(None)
    assert len(calls) == 1
    clock.advance(QUIET_SECONDS)
    news.note(None)
    assert [call.args[0] for call in calls] == ["waiting", "Redis is back"]
