"""Logs Redis outages: one line when it fails, with the reason, and one when it is back."""

import time
from collections.abc import Callable

import redis
import structlog

from models.core.redis_errors import reason, remedy

# At most one line in so many seconds, if Redis comes and goes.
QUIET_SECONDS = 5.0

logger = structlog.stdlib.get_logger(__name__)


class RedisNews:
    """Logs when Redis fails, when the reason changes, and when it is back."""

    def __init__(self, words: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._words = words
        self._clock = clock
        self._logged: str | None = None
        self._quiet_until = 0.0

    def note(self, failure: redis.RedisError | None) -> None:
        """Log the outcome of a call if it differs from the last one that was logged."""
        # Compared by remedy: the reason may contain numbers that change each time.
        news = None if failure is None else remedy(failure)
        now = self._clock()
        if news == self._logged or now < self._quiet_until:
            return
        self._logged, self._quiet_until = news, now + QUIET_SECONDS
        if failure is None:
            logger.info("Redis is back")
        else:
            logger.warning(self._words, reason=reason(failure), remedy=news)
