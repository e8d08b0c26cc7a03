"""Log lines about Redis: one when it fails, with its reason, and one when it is back."""

import time
from collections.abc import Callable

import redis
import structlog

from models.core.redis_errors import reason, remedy

# A Redis that comes and goes is told of now and then, not at each call.
QUIET_SECONDS = 5.0

logger = structlog.stdlib.get_logger(__name__)


class RedisNews:
    """Tells the log when Redis fails, fails otherwise, or is back."""

    def __init__(self, words: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._words = words
        self._clock = clock
        self._told: str | None = None
        self._quiet_until = 0.0

    def note(self, failure: redis.RedisError | None) -> None:
        """Take the outcome of one call; only what is new is logged."""
        # Not by the reason: a number in it would make each one new.
        news = None if failure is None else remedy(failure)
        now = self._clock()
        if news == self._told or now < self._quiet_until:
            return
        self._told, self._quiet_until = news, now + QUIET_SECONDS
        if failure is None:
            logger.info("Redis is back")
        else:
            logger.warning(self._words, reason=reason(failure), remedy=news)
