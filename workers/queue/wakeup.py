"""The wake-up: a hint in Redis that there is work in SQL."""

import redis

from workers.queue.jobs import DRAIN, links_queue

# About one for each idle worker; more would only run empty drains.
MOST_QUEUED = 3
HINT_TTL_SECONDS = 60
JOB_TIMEOUT_SECONDS = 60


class WakeUp:
    """Wakes the workers of one queue; only a few wake-ups are queued at once."""

    def __init__(self, client: redis.Redis | None, name: str) -> None:
        self._queue = links_queue(client, name) if client is not None else None
        # Why the last one failed; None if it did not, or if no Redis is configured.
        self.failure: redis.RedisError | None = None

    def send(self) -> bool:
        """Queue one `drain` unless enough are queued; False if Redis is unavailable or full."""
        self.failure = None
        if self._queue is None:
            return False
        try:
            # No fixed job id: a lost job would block the next one of the same id.
            if self._queue.count < MOST_QUEUED:
                self._queue.enqueue_call(
                    DRAIN,
                    timeout=JOB_TIMEOUT_SECONDS,
                    # An old hint is useless, and nobody reads the result.
                    ttl=HINT_TTL_SECONDS,
                    result_ttl=0,
                    failure_ttl=HINT_TTL_SECONDS,
                    description=DRAIN,
                )
        except redis.RedisError as error:
            self.failure = error
            return False
        return True
