"""Recall's rate limits, shared by all workers so that none of them gets a 429.

The limits per minute are from https://docs.recall.ai/reference/bot_retrieve and its neighbours. A
bucket allows `burst` calls at once and refills so slowly that burst + refill stay below the limit
in any 60 seconds, wherever Recall's window begins.
"""

import hashlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import redis

from models.queries.circuit import LONGEST_WAIT

BOT_GET = "bot_get"
AUTHENTICATE = "authenticate"
# Recall counts by the minute, and does not say when its minute begins.
WINDOW_SECONDS = 60.0
# This share stays unused, since calls arrive with the network's jitter.
HEADROOM = 0.013
BURST_SHARE = 0.027
# How long Redis is not tried after a failure, which may take a second.
AWAY_SECONDS = 2.0
# The share of each process while Redis is away, since it cannot see the others.
LOCAL_SHARE = 0.5

Clock = Callable[[], float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bucket:
    """One of Recall's rate limits: its name, and how many calls a minute it allows."""

    name: str
    per_minute: float

    @property
    def burst(self) -> float:
        """How many calls may go at once."""
        return max(1.0, math.floor(self.per_minute * BURST_SHARE))

    @property
    def per_second(self) -> float:
        """How many calls refill in a second."""
        usable = self.per_minute * (1 - HEADROOM) - self.burst
        return max(usable, 1.0) / WINDOW_SECONDS


@dataclass(frozen=True, slots=True)
class Grant:
    """How many calls may go now; if none, in how many seconds one may."""

    count: int
    wait: float = 0.0


class Limits(Protocol):
    """A set of buckets that several threads and processes draw from."""

    def take(self, bucket: Bucket, count: int = 1) -> Grant:
        """Take up to `count` calls out of the bucket."""

    def give_back(self, bucket: Bucket, count: int) -> None:
        """Return calls that were taken and not made."""

    def close(self, bucket: Bucket, seconds: float) -> None:
        """Close the bucket for so long, after a 429."""

    def heed(self, closed: Mapping[str, float]) -> None:
        """Close buckets here that another worker closed, by name, for so many seconds."""

    def left(self, bucket: Bucket) -> float | None:
        """Return how many calls could go now; None if that is unknown."""


class Buckets:
    """The buckets of a workspace, scaled to our share of Recall's limits."""

    def __init__(self, share: float = 1.0) -> None:
        self.bot_get = Bucket(BOT_GET, 300 * share)
        self.authenticate = Bucket(AUTHENTICATE, 300 * share)
        self.users_list = Bucket("users_list", 60 * share)
        self.bot_list = Bucket("bot_list", 60 * share)
        self._per_user = 120 * share

    def of_user(self, external_id: str) -> Bucket:
        """Return the bucket of one calendar user."""
        digest = hashlib.sha256(external_id.encode()).hexdigest()[:16]
        return Bucket(f"user:{digest}", self._per_user)


class LocalLimits:
    """Buckets of this process alone, at a share of each limit."""

    def __init__(self, share: float = LOCAL_SHARE, clock: Clock = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: dict[str, tuple[float, float]] = {}
        self._closed: dict[str, float] = {}

    def take(self, bucket: Bucket, count: int = 1) -> Grant:
        """Take up to `count` calls out of this process's share of the bucket."""
        if closed := self.closed_for(bucket):
            return Grant(0, closed)
        # Only a share, since other processes cannot be seen from here.
        mine = Bucket(bucket.name, bucket.per_minute * self._share)
        with self._lock:
            now = self._clock()
            # Starts with one call, not a burst: a restart must not double the calls of a minute.
            level, at = self._levels.get(bucket.name, (1.0, now))
            level = min(mine.burst, level + (now - at) * mine.per_second)
            granted = min(count, int(level))
            self._levels[bucket.name] = (level - granted, now)
        return Grant(granted, 0.0 if granted else (1 - level) / mine.per_second)

    def give_back(self, bucket: Bucket, count: int) -> None:
        """Return calls to this process's share."""
        with self._lock:
            level, at = self._levels.get(bucket.name, (0.0, self._clock()))
            self._levels[bucket.name] = (level + count, at)

    def close(self, bucket: Bucket, seconds: float) -> None:
        """Close the bucket for this process."""
        self.heed({bucket.name: seconds})

    def heed(self, closed: Mapping[str, float]) -> None:
        """Close buckets for this process, by name."""
        now = self._clock()
        with self._lock:
            for name, seconds in closed.items():
                # The longest time counts, up to a limit: a second 429 never reopens a bucket
                # earlier than the first.
                until = now + min(seconds, LONGEST_WAIT)
                self._closed[name] = max(until, self._closed.get(name, 0.0))

    def closed_for(self, bucket: Bucket) -> float:
        """Return for how many seconds the bucket is still closed; 0 when it is open."""
        with self._lock:
            return max(0.0, self._closed.get(bucket.name, 0.0) - self._clock())


class SharedLimits(Protocol):
    """Buckets in Redis; each method may raise redis.RedisError."""

    def take(self, bucket: Bucket, count: int = 1) -> Grant:
        """Take up to `count` calls out of the shared bucket."""

    def left(self, bucket: Bucket) -> float:
        """Return how many calls could go now."""

    def give_back(self, bucket: Bucket, count: int) -> None:
        """Return calls to the shared bucket."""

    def close(self, bucket: Bucket, seconds: float) -> None:
        """Close the bucket for every worker."""


class SteadyLimits:
    """The shared buckets, or local ones at half the limits while Redis is away."""

    def __init__(
        self,
        shared: SharedLimits | None,
        local: LocalLimits,
        clock: Clock = time.monotonic,
    ) -> None:
        self._clock = clock
        self._shared = shared
        self._local = local
        self._lock = threading.Lock()
        self._away_until = 0.0

    def take(self, bucket: Bucket, count: int = 1) -> Grant:
        """Take from the shared bucket, or from the local one."""
        if closed := self._local.closed_for(bucket):
            return Grant(0, closed)
        grant = self._ask(lambda shared: shared.take(bucket, count))
        return grant or self._local.take(bucket, count)

    def left(self, bucket: Bucket) -> float | None:
        """Return how many calls could go now by the shared bucket; None while Redis is away."""
        return self._ask(lambda shared: shared.left(bucket))

    def give_back(self, bucket: Bucket, count: int) -> None:
        """Return calls; lost while Redis is away, which only makes us slower."""
        self._ask(lambda shared: shared.give_back(bucket, count))

    def close(self, bucket: Bucket, seconds: float) -> None:
        """Close the bucket here, and in Redis if it is there."""
        self._local.close(bucket, seconds)
        self._ask(lambda shared: shared.close(bucket, seconds))

    def heed(self, closed: Mapping[str, float]) -> None:
        """Close buckets here, by name."""
        self._local.heed(closed)

    def _ask(self, call: Callable[[SharedLimits], T]) -> T | None:
        if self._shared is None:
            return None
        # One thread at a time, over one connection, which is cheaper than one for each thread. The
        # time is checked under the lock: threads that waited while Redis failed do not try again.
        with self._lock:
            if self._clock() < self._away_until:
                return None
            try:
                return call(self._shared)
            except redis.RedisError:
                self._away_until = self._clock() + AWAY_SECONDS
                return None


def workspace_name(api_url: str, api_key: str) -> str:
    """Return a name for the workspace that does not reveal its key."""
    return hashlib.sha256(f"{api_url} {api_key}".encode()).hexdigest()[:12]
