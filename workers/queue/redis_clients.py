"""Redis clients: one that fails fast, for hints and limits, and one that retries, for RQ."""

from typing import Any

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from models.settings.environment import Settings, SettingsError

_QUICK_SECONDS = 1.0
_PROBE = "recall-links:probe"
_PROBE_TTL_SECONDS = 60


def quick_redis(settings: Settings) -> redis.Redis | None:
    """Return a client that answers or fails within a second; None if no Redis is configured."""
    return _client(settings, timeout=_QUICK_SECONDS, retry=Retry(NoBackoff(), 0))


def patient_redis(settings: Settings) -> redis.Redis | None:
    """Return the RQ worker's client, which retries while Redis restarts."""
    errors = (RedisConnectionError, RedisTimeoutError)
    retry: Retry = Retry(ExponentialBackoff(cap=2, base=0.1), 20, supported_errors=errors)
    return _client(settings, timeout=None, retry=retry)


def write_probe(client: redis.Redis) -> None:
    """Write a key and run a script; redis.RedisError if either is refused.

    A full Redis, or one that cannot save, still answers PING.
    """
    client.set(_PROBE, "", ex=_PROBE_TTL_SECONDS)
    client.eval("return 1", 0)


def _client(settings: Settings, timeout: float | None, retry: Retry) -> redis.Redis | None:
    if settings.redis_url is None:
        return None
    options: dict[str, Any] = {}
    if settings.redis_url.startswith("rediss://") and settings.redis_tls_verify == "none":
        # Heroku's certificate is self-signed and cannot be verified.
        options["ssl_cert_reqs"] = "none"
        options["ssl_check_hostname"] = False
    try:
        client = redis.Redis.from_url(
            settings.redis_url,
            socket_timeout=timeout,
            socket_connect_timeout=_QUICK_SECONDS,
            health_check_interval=30,
            retry=retry,
            **options,
        )
        # Checks all options now, without connecting; otherwise the first command would fail.
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    except (TypeError, ValueError, redis.RedisError):
        # Without the library's message, which shows the URL.
        raise SettingsError("REDIS_URL: must be a URL that redis-py takes") from None
    return client
