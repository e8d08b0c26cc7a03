"""The rate limits' shared buckets: scripts in Redis, by Redis's own clock."""

from typing import cast

import redis

from workers.limits import Bucket, Grant

# Far longer than any window, so that a forgotten bucket is never a fresh one.
IDLE_SECONDS = 3600

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


class RedisLimits:
    """The shared buckets; redis.RedisError when Redis is away."""

    def __init__(self, client: redis.Redis, workspace: str) -> None:
        self._client = client
        self._prefix = f"recall-links:{workspace}:limit:"
        self._take = client.register_script(_TAKE)
        self._close = client.register_script(_CLOSE)

    def take(self, bucket: Bucket, count: int = 1) -> Grant:
        """Take up to `count` calls out of the shared bucket."""
        args = [bucket.burst, bucket.per_second, count, IDLE_SECONDS]
        reply = cast("list[bytes]", self._take(keys=[self._key(bucket)], args=args))
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

    def _key(self, bucket: Bucket) -> str:
        return self._prefix + bucket.name
