"""Checks Redis; without it links still appear, but later."""

from collections.abc import Iterator

import redis

from models.core.redis_errors import describe, remedy
from webhook.doctor.result import Diagnosis
from workers.queue.redis_clients import write_probe

# Policies that evict keys without an expiry: the queue's jobs and the rate limits' levels.
EVICTS_ANYTHING = "allkeys"


def examine_redis(client: redis.Redis | None) -> Iterator[Diagnosis]:
    """Check that Redis answers, accepts writes and keeps them."""
    if client is None:
        todo = "set REDIS_URL: without it links wait for the next poll"
        yield Diagnosis("warning", "Redis", "REDIS_URL is not set", todo)
        return
    try:
        server, memory = client.info("server"), client.info("memory")
        write_probe(client)
    except redis.RedisError as error:
        yield Diagnosis("warning", "Redis", describe(error), remedy(error))
        return
    yield Diagnosis("ok", "Redis", f"version {server.get('redis_version')}")
    policy = str(memory.get("maxmemory_policy", "unknown"))
    if policy.startswith(EVICTS_ANYTHING):
        todo = "set maxmemory-policy to noeviction: evicted rate limits lead to 429s"
        yield Diagnosis("warning", "eviction policy", policy, todo)
    else:
        yield Diagnosis("ok", "eviction policy", policy)
