"""Turns in the shared rate limits: each call waits for one, and a 429 closes the bucket."""

import math
import time
from collections.abc import Callable
from typing import TypeVar

from workers.rate_limits.buckets import Bucket, Limits
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.retry_policy import Then, decide
from workers.shutdown import Stop

T = TypeVar("T")


class Turns:
    """Takes turns for one caller.

    A call waits for `patience` seconds in all and `longest_wait` at a time, never beyond `until`
    (monotonic), and not after a stop.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        patience: float = math.inf,
        longest_wait: float = math.inf,
        until: float = math.inf,
        stop: Stop | None = None,
    ) -> None:
        self._limits = limits
        self._patience = patience
        self._longest_wait = longest_wait
        self._until = until
        self._stop = stop or Stop()

    def call(self, endpoint: Endpoint, bucket: Bucket, call: Callable[[], T]) -> T:
        """Make a call in its turn; RecallError: held if the turn is far away, cut by a stop."""
        self._wait(endpoint, bucket)
        return self.call_now(bucket, call)

    def call_now(self, bucket: Bucket, call: Callable[[], T]) -> T:
        """Make a call whose turn was taken; a 429 closes the bucket for all workers."""
        try:
            return call()
        except RecallError as error:
            decision = decide(error, 1)
            if decision.then is Then.CLOSE_BUCKET:
                # The longest wait: never shorter than what the 429 asks for.
                self._limits.close(bucket, decision.longest)
            raise

    def _wait(self, endpoint: Endpoint, bucket: Bucket) -> None:
        give_up_at = min(self._until, time.monotonic() + self._patience)
        while not (grant := self._limits.take(bucket)).count:
            if grant.wait > min(self._longest_wait, give_up_at - time.monotonic()):
                raise RecallError(Fault.HELD, endpoint, retry_after=grant.wait)
            # The bucket says how long; nothing signals a turn.
            time.sleep(grant.wait)
            if self._stop.is_requested:
                raise RecallError(Fault.CUT, endpoint)
