"""Shared rate limit buckets: scripts in Redis, by Redis's clock."""

import math
from typing import cast

import redis

from models.queries.circuit import LONGEST_WAIT
from workers.rate_limits.buckets import Bucket, Grant

# Far longer than any window: a bucket that expired would be full again anyway.
IDLE_SECONDS = 3600

# Values in Redis are clamped to their valid range: a text, a NaN or an absurd number must neither
# stop all workers nor lift a limit.
_READ = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function within(text, low, high, otherwise)
  local number = tonumber(text or '')
  if not number or number ~= number then return otherwise end
  return math.max(low, math.min(high, number))
end
"""
# One round trip, by Redis's clock, since dynos' clocks may differ. A bucket that is missing starts
# with one call and not with a burst: a flush must not double the calls of a minute.
_TAKE = f"""{_READ}
local burst, rate, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HMGET', KEYS[1], 'level', 'at', 'closed')
local closed = within(kept[3], 0, now + {LONGEST_WAIT}, 0)
if closed > now then
  -- Written back, or what lies too far ahead would be cut to the longest wait at each reading.
  redis.call('HSET', KEYS[1], 'closed', string.format('%.6f', closed))
  return {{0, tostring(closed - now)}}
end
local at = within(kept[2], 0, now, now)
local level = math.min(burst, within(kept[1], 0, burst, 1) + (now - at) * rate)
local granted = math.min(count, math.floor(level))
redis.call('HSET', KEYS[1], 'level', tostring(level - granted), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], ARGV[4])
if granted > 0 then return {{granted, '0'}} end
return {{0, tostring((1 - level) / rate)}}
"""
_CLOSE = f"""{_READ}
local latest = now + {LONGEST_WAIT}
local before = within(redis.call('HGET', KEYS[1], 'closed'), 0, latest, 0)
local closed = math.max(math.min(now + tonumber(ARGV[1]), latest), before)
redis.call('HSET', KEYS[1], 'closed', string.format('%.6f', closed))
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
_GIVE_BACK = f"""{_READ}
local level = within(redis.call('HGET', KEYS[1], 'level'), 0, tonumber(ARGV[1]), 0)
redis.call('HSET', KEYS[1], 'level', tostring(level + tonumber(ARGV[2])))
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""


class RedisLimits:
    """The shared buckets; redis.RedisError while Redis is away."""

    def __init__(self, client: redis.Redis, workspace: str) -> None:
        self._client = client
        self._prefix = f"recall-links:{workspace}:limit:"
        self._take = client.register_script(_TAKE)
        self._close = client.register_script(_CLOSE)
        self._give_back = client.register_script(_GIVE_BACK)

    def take(self, bucket: Bucket, count: int = 1) -> Grant:
        """Take up to `count` calls out of the shared bucket."""
        args = [bucket.burst, bucket.per_second, count, IDLE_SECONDS]
        reply = cast("list[bytes]", self._take(keys=[self._key(bucket)], args=args))
        return Grant(int(reply[0]), float(reply[1]))

    def left(self, bucket: Bucket) -> float:
        """Return how many calls could go now."""
        seconds, micros = self._client.time()
        kept = cast("list[bytes | None]", self._client.hmget(self._key(bucket), "level", "at"))
        now = seconds + micros / 1e6
        level, at = _within(kept[0], bucket.burst), _within(kept[1], now)
        if level is None or at is None:
            return 1.0
        return min(bucket.burst, level + (now - at) * bucket.per_second)

    def give_back(self, bucket: Bucket, count: int) -> None:
        """Return calls to the shared bucket."""
        self._give_back(keys=[self._key(bucket)], args=[bucket.burst, count, IDLE_SECONDS])

    def close(self, bucket: Bucket, seconds: float) -> None:
        """Close the bucket for every worker."""
        self._close(keys=[self._key(bucket)], args=[seconds, IDLE_SECONDS])

    def _key(self, bucket: Bucket) -> str:
        return self._prefix + bucket.name


def _within(text: bytes | None, high: float) -> float | None:
    try:
        number = float(text or b"")
    except ValueError:
        return None
    return None if math.isnan(number) else max(0.0, min(high, number))
