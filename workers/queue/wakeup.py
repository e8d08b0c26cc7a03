"""The bell: a hint in Redis that there is work in SQL."""

import redis

from workers.queue.jobs import DRAIN, links_queue

# One for each worker that may be idle; more would only run empty drains.
MOST_QUEUED = 3
HINT_TTL_SECONDS = 60
JOB_TIMEOUT_SECONDS = 60


class Bell:
    """Rings for the workers of one queue; a few rings at most are queued."""

    def __init__(self, client: redis.Redis | None, name: str) -> None:
        self._queue = links_queue(client, name) if client is not None else None
        # Why the last ring was not heard; None where it was, and where no Redis is set.
        self.failure: redis.RedisError | None = None

    def ring(self) -> bool:
        """Queue one `drain` unless enough are queued; False when Redis is away or full."""
        self.failure = None
        if self._queue is None:
            return False
        try:
            # No fixed job id: a lost job of that id would block its own successor.
            if self._queue.count < MOST_QUEUED:
                self._queue.enqueue_call(
                    DRAIN,
                    timeout=JOB_TIMEOUT_SECONDS,
                    # A hint that nobody took is worth nothing, and no result is ever read.
                    ttl=HINT_TTL_SECONDS,
                    result_ttl=0,
                    failure_ttl=HINT_TTL_SECONDS,
                    description=DRAIN,
                )
        except redis.RedisError as error:
            self.failure = error
            return False
        return True
