"""The rate limits' shared buckets: scripts in Redis, by Redis's own clock."""

import hashlib
import time
from collections.abc import Sequence
from typing import Any, cast

import redis
from redis.exceptions import NoScriptError

from workers.limits import Bucket, Grant

# Far longer than any window, so that a forgotten bucket is never a fresh one.
IDLE_SECONDS = 3600
# How long a connection is trusted to be open still; then the pool looks into it again.
TRUST_SECONDS = 1.0

# One round trip, and Redis's own clock, so that no dyno's clock counts. A bucket that Redis forgot
# starts with one call and not with a burst: a flush must not double a minute's calls.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local burst, rate, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HMGET', KEYS[1], 'level', 'at', 'closed')
local closed = tonumber(kept[3] or 0)
if closed > now then return {0, tostring(closed - now)} end
local level = math.min(burst, tonumber(kept[1] or 1) + (now - tonumber(kept[2] or now)) * rate)
local granted = math.min(count, math.floor(level))
redis.call('HSET', KEYS[1], 'level', tostring(level - granted), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], ARGV[4])
if granted > 0 then return {granted, '0'} end
return {0, tostring((1 - level) / rate)}
"""
_CLOSE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local before = tonumber(redis.call('HGET', KEYS[1], 'closed') or 0)
local closed = math.max(now + tonumber(ARGV[1]), before)
redis.call('HSET', KEYS[1], 'closed', string.format('%.6f', closed))
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
_TAKE_SHA = hashlib.sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()


class RedisLimits:
    """The shared buckets, for one thread at a time; redis.RedisError when Redis is away."""

    def __init__(self, client: redis.Redis, workspace: str) -> None:
        self._client = client
        self._prefix = f"recall-links:{workspace}:limit:"
        self._close = client.register_script(_CLOSE)
        self._connection: Any = None
        self._trusted_until = 0.0

    def take(self, bucket: Bucket, count: int = 1) -> Grant:
        """Take up to `count` calls out of the shared bucket."""
        args = [bucket.burst, bucket.per_second, count, IDLE_SECONDS]
        reply = self._draw(self._key(bucket), args)
        return Grant(int(reply[0]), float(reply[1]))

    def left(self, bucket: Bucket) -> float:
        """Return how many calls could go now."""
        seconds, micros = self._client.time()
        kept = cast("list[bytes | None]", self._client.hmget(self._key(bucket), "level", "at"))
        level, at = (float(value) if value is not None else None for value in kept)
        if level is None or at is None:
            return 1.0
        return min(bucket.burst, level + (seconds + micros / 1e6 - at) * bucket.per_second)

    def give_back(self, bucket: Bucket, count: int) -> None:
        """Return calls to the shared bucket."""
        self._client.hincrbyfloat(self._key(bucket), "level", count)

    def close(self, bucket: Bucket, seconds: float) -> None:
        """Close the bucket for every worker."""
        self._close(keys=[self._key(bucket)], args=[seconds, IDLE_SECONDS])

    def _draw(self, key: str, args: Sequence[float]) -> list[bytes]:
        # Each call of each bot comes by here. The client would go to the pool for each of them,
        # which locks, looks whether the connection is open, and costs as much as the turn itself.
        connection = self._trusted()
        try:
            return _asked(connection, "EVALSHA", _TAKE_SHA, 1, key, *args)
        except NoScriptError:
            return _asked(connection, "EVAL", _TAKE, 1, key, *args)

    def _trusted(self) -> Any:
        pool, now = self._client.connection_pool, time.monotonic()
        if now >= self._trusted_until:
            if self._connection is not None:
                pool.release(self._connection)
                self._connection = None
            self._connection = pool.get_connection()
            self._trusted_until = now + TRUST_SECONDS
        return self._connection

    def _key(self, bucket: Bucket) -> str:
        return self._prefix + bucket.name


def _asked(connection: Any, *words: str | float) -> list[bytes]:
    # Whatever fails here closes the connection, so that no late answer passes for the next one's;
    # the next word opens it again.
    connection.send_command(*words)
    return cast("list[bytes]", connection.read_response())
