"""The rate limits of this deployment."""

import redis

from models.settings.environment import Settings
from workers.rate_limits.buckets import (
    Limits,
    LocalLimits,
    SteadyLimits,
    workspace_name,
)
from workers.rate_limits.redis_buckets import RedisLimits


def make_limits(settings: Settings, client: redis.Redis | None) -> Limits:
    """Return the workspace's rate limits, shared through Redis if there is one."""
    shared = None
    if client is not None:
        shared = RedisLimits(client, workspace_name(settings.api_url, settings.api_key))
    return SteadyLimits(shared, LocalLimits())
