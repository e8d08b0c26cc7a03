"""The rate limits: never above Recall's in any minute, by however many workers."""

import math
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from models.queries.circuit import LONGEST_WAIT
from tests.lab.stack.servers import Server
from tests.lab.world.clock import ManualClock
from workers.rate_limits.buckets import Bucket, Buckets, Grant, LocalLimits, SteadyLimits
from workers.rate_limits.redis_buckets import RedisLimits
from workers.recall_api.retry_policy import BACKOFF_CAP, RETRY_AFTER_JITTER

LIMITS = [300, 120, 60]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the shared server."""
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


@pytest.mark.parametrize("limit", LIMITS)
def test_burst_and_a_minutes_refill_stay_under_the_limit(limit: int) -> None:
    """Wherever a minute's window is laid, no more calls than allowed fall into it."""
    bucket = Bucket("b", limit)
    assert bucket.burst + 60 * bucket.per_second <= limit
    assert bucket.burst >= 1


def test_enough_is_left_to_sustain_285_bots_a_minute() -> None:
    """The headroom is not paid with throughput."""
    assert Buckets().bot_get.per_second * 60 >= 285


@given(
    limit=st.sampled_from(LIMITS),
    pauses=st.lists(st.floats(0, 30), min_size=1, max_size=40),
    wanted=st.integers(1, 64),
)
def test_no_window_of_a_minute_holds_more_than_the_limit(
    limit: int, pauses: list[float], wanted: int
) -> None:
    """Whatever the rhythm of calls, by a manual clock."""
    clock = ManualClock(0.0)
    limits, bucket = LocalLimits(share=1.0, clock=clock), Bucket("b", limit)
    taken: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        for _ in range(limit):
            taken += [clock()] * limits.take(bucket, wanted).count
    for start in taken:
        assert sum(start <= at < start + 60 for at in taken) <= limit


def test_an_empty_bucket_says_how_long_to_wait() -> None:
    """And after that long one call is there."""
    clock = ManualClock(0.0)
    limits, bucket = LocalLimits(share=1.0, clock=clock), Bucket("b", 60)
    assert limits.take(bucket).count == 1
    refused = limits.take(bucket)
    assert refused.count == 0
    clock.advance(refused.wait)
    assert limits.take(bucket).count == 1


def test_what_is_given_back_can_be_taken_again() -> None:
    """A claim that found fewer bots than it took turns for wastes none."""
    clock = ManualClock(0.0)
    limits, bucket = LocalLimits(share=1.0, clock=clock), Bucket("b", 300)
    clock.advance(10)
    assert limits.take(bucket, 1).count == 1
    clock.advance(10)
    assert limits.take(bucket, 100).count == 8
    limits.give_back(bucket, 5)
    assert limits.take(bucket, 100).count == 5


def test_a_process_alone_keeps_to_half() -> None:
    """It cannot see the others while Redis is away."""
    clock = ManualClock(0.0)
    limits, bucket = LocalLimits(clock=clock), Bucket("b", 300)
    taken = 0
    for _ in range(6000):
        clock.advance(0.01)
        taken += limits.take(bucket).count
    assert 130 <= taken <= 150


def test_redis_and_local_buckets_agree(client: redis.Redis) -> None:
    """The script's arithmetic is the same: one call at first, then as the refill allows."""
    limits, bucket = RedisLimits(client, "w"), Bucket("b", 300)
    assert limits.take(bucket, 5).count == 1
    refused = limits.take(bucket, 5)
    assert refused.count == 0
    assert 0 < refused.wait <= 1 / bucket.per_second
    limits.give_back(bucket, 3)
    assert limits.take(bucket, 5).count == 3


def test_a_closed_bucket_is_closed_for_everybody_and_never_for_less(client: redis.Redis) -> None:
    """A second 429 with a shorter wait does not open it sooner."""
    one, other, bucket = RedisLimits(client, "w"), RedisLimits(client, "w"), Bucket("b", 6000)
    one.close(bucket, 40)
    other.close(bucket, 5)
    for limits in (one, other):
        grant = limits.take(bucket)
        assert grant.count == 0
        assert 38 < grant.wait <= 40


UNREASONABLE = [
    "9e18",
    "-9e18",
    "inf",
    "-inf",
    "nan",
    "-nan",
    "soon",
    "",
    "0x7fffffffffff",
    "1e400",
]


@pytest.mark.parametrize("value", UNREASONABLE)
@pytest.mark.parametrize("field", ["closed", "level", "at"])
def test_what_lies_in_redis_is_read_within_reason(
    client: redis.Redis, field: str, value: str
) -> None:
    """Nobody waits longer than the longest wait, nobody gets more than a burst, nothing fails."""
    limits, bucket, key = RedisLimits(client, "w"), Bucket("b", 600), "recall-links:w:limit:b"
    limits.take(bucket)
    client.hset(key, field, value)
    grant = limits.take(bucket, 10_000)
    assert grant.count <= bucket.burst
    assert 0 <= grant.wait <= LONGEST_WAIT
    client.hset(key, field, value)
    assert 0 <= (limits.left(bucket) or 0) <= bucket.burst
    limits.give_back(bucket, 1)
    client.hset(key, field, value)
    limits.close(bucket, 5)
    assert 0 < limits.take(bucket).wait <= LONGEST_WAIT


def test_a_bucket_that_is_closed_for_ever_opens_after_the_longest_wait(client: redis.Redis) -> None:
    """Cut anew at each reading, it would never open: what was cut is written back."""
    limits, bucket, key = RedisLimits(client, "w"), Bucket("b", 600), "recall-links:w:limit:b"
    client.hset(key, "closed", "9e18")
    first = limits.take(bucket)
    assert LONGEST_WAIT - 1 < first.wait <= LONGEST_WAIT
    time.sleep(0.05)
    assert limits.take(bucket).wait < first.wait


@pytest.mark.parametrize("seconds", [9e18, math.inf])
def test_nobody_closes_a_bucket_for_ever(client: redis.Redis, seconds: float) -> None:
    """Here and in Redis: the longest wait is one that Retry-After may ask for."""
    clock = ManualClock(0.0)
    limits = SteadyLimits(RedisLimits(client, "w"), LocalLimits(clock=clock), clock)
    bucket = Bucket("b", 600)
    limits.close(bucket, seconds)
    assert limits.take(bucket).wait == LONGEST_WAIT
    clock.advance(LONGEST_WAIT)
    assert LONGEST_WAIT - 5 < limits.take(bucket).wait <= LONGEST_WAIT
    assert LONGEST_WAIT == BACKOFF_CAP + RETRY_AFTER_JITTER


def test_workspaces_do_not_share_buckets(client: redis.Redis) -> None:
    """Two keys on one Redis are two workspaces."""
    bucket = Bucket("b", 60)
    assert RedisLimits(client, "one").take(bucket).count == 1
    assert RedisLimits(client, "two").take(bucket).count == 1


def _draw(url: str, seconds: float, total: "multiprocessing.Queue[int]") -> None:
    limits, bucket = RedisLimits(redis.Redis.from_url(url), "w"), Bucket("shared", 3000)
    until, taken = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        taken += limits.take(bucket, 4).count
    total.put(taken)


def test_two_processes_share_one_bucket(redis_url: str) -> None:
    """Together they get what one would, and each gets some of it."""
    spawn = multiprocessing.get_context("spawn")
    total = spawn.Queue()
    started = time.monotonic()
    drawing = [spawn.Process(target=_draw, args=(redis_url, 2.0, total)) for _ in range(2)]
    for process in drawing:
        process.start()
    taken = [total.get(timeout=30) for _ in drawing]
    for process in drawing:
        process.join()
    bucket = Bucket("shared", 3000)
    elapsed = time.monotonic() - started
    assert sum(taken) <= bucket.burst + bucket.per_second * elapsed + 1
    assert min(taken) > 0


def test_a_redis_that_lost_the_script_gets_it_again(client: redis.Redis) -> None:
    """A restart loses scripts; no call is refused because of it."""
    limits, bucket = RedisLimits(client, "forgetful"), Bucket("b", 6000)
    assert limits.take(bucket).count == 1
    client.script_flush()
    limits.give_back(bucket, 1)
    assert limits.take(bucket).count == 1


def test_a_connection_that_broke_costs_one_failed_turn_at_most(redis_url: str) -> None:
    """The next is taken over a new one, and hears its own answer."""
    client, other = redis.Redis.from_url(redis_url), redis.Redis.from_url(redis_url)
    limits, bucket = RedisLimits(client, "broken"), Bucket("b", 6000)
    assert limits.take(bucket).count == 1
    limits.give_back(bucket, 9)
    other.client_kill_filter(_type="normal", skipme=True)
    with suppress(redis.RedisError):
        limits.take(bucket, 4)
    assert limits.take(bucket, 2).count == 2


def test_a_late_answer_is_not_taken_for_the_next_ones(redis_url: str) -> None:
    """A Redis that hangs for longer than we wait answers a turn that nobody waits for."""
    hasty = redis.Redis.from_url(redis_url, socket_timeout=0.2)
    other = redis.Redis.from_url(redis_url)
    limits, bucket = RedisLimits(hasty, "late"), Bucket("b", 6000)
    assert limits.take(bucket).count == 1
    limits.give_back(bucket, 9)
    other.client_pause(400)
    with pytest.raises(redis.TimeoutError):
        limits.take(bucket, 7)
    other.client_unpause()
    assert limits.take(bucket, 1).count == 1


def test_without_redis_the_local_half_goes_on(redis_server: Server) -> None:
    """A Redis that cannot be reached costs one failed try, then none for two seconds."""
    clock = ManualClock(0.0)
    away = redis.Redis.from_url("unix:///nonexistent/redis.sock")
    limits = SteadyLimits(RedisLimits(away, "w"), LocalLimits(clock=clock), clock)
    bucket = Bucket("b", 300)
    assert limits.take(bucket).count == 1
    limits.close(bucket, 30)
    assert limits.take(bucket).count == 0
    clock.advance(31)
    assert limits.take(bucket).count == 1
    limits.give_back(bucket, 1)


def test_a_bucket_that_another_worker_closed_is_heeded_here() -> None:
    """What SQL tells of closed buckets holds also where Redis is away or has forgotten it."""
    clock = ManualClock(0.0)
    limits = SteadyLimits(None, LocalLimits(clock=clock), clock)
    limits.heed({"bot_get": 12.0})
    grant = limits.take(Buckets().bot_get)
    assert (grant.count, grant.wait) == (0, 12.0)


def test_threads_take_turns_over_one_connection(client: redis.Redis) -> None:
    """Thirty-two threads that start together would open as many."""
    limits, bucket = SteadyLimits(RedisLimits(client, "many"), LocalLimits()), Bucket("b", 600_000)
    before = client.info("stats")["total_connections_received"]
    start = threading.Barrier(16)

    def take() -> None:
        start.wait()
        limits.take(bucket)

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.info("stats")["total_connections_received"] - before <= 1


def test_who_waited_while_redis_went_away_does_not_try_it_again() -> None:
    """A second of silence is suffered once, not once a thread."""
    asked, goes = threading.Event(), threading.Event()
    tries: list[int] = []

    class Silent(RedisLimits):
        def __init__(self) -> None:
            pass

        def take(self, bucket: Bucket, count: int = 1) -> Grant:
            tries.append(count)
            asked.set()
            goes.wait(10)
            raise redis.TimeoutError

    limits = SteadyLimits(Silent(), LocalLimits())
    threads = [threading.Thread(target=limits.take, args=(Bucket("b", 300),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert asked.wait(10)
    goes.set()
    for thread in threads:
        thread.join()
    assert len(tries) == 1
