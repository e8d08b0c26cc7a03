"""The link threads: none speaks SQL, and all call Recall over one pool of connections."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from workers.linking.types import Claim, LinkResult
from workers.rate_limits.buckets import Bucket, Limits
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.retry_policy import decide
from workers.shutdown import Stop

# A turn further away than this is not waited for: the thread is worth more elsewhere.
LONGEST_HOLD = 3.0
# At 4.8 turns a second the limits' headroom of 3.9 calls a minute stands this much delay.
TURN_SECONDS = 0.75

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Handed:
    """A claim on its way to a thread, and when it was handed over."""

    claim: Claim
    at: float

    @property
    def has_turn(self) -> bool:
        """Whether the turn that was taken at the claim may still be used.

        A turn that is used later would count into another minute than the one it was taken from.
        """
        return time.monotonic() - self.at < TURN_SECONDS


Link = Callable[[Handed], LinkResult]


class LimitTurnstile:
    """Lets calls through as the shared limits allow, until the drain's end."""

    def __init__(self, limits: Limits, stop: Stop, until: float) -> None:
        self._limits = limits
        self._stop = stop
        self._until = until

    def enter(self, endpoint: Endpoint, bucket: Bucket) -> None:
        """Wait for a turn; RecallError (held) for a far one, (cut) when the drain stops."""
        while not (grant := self._limits.take(bucket)).count:
            if grant.wait > min(LONGEST_HOLD, self._until - time.monotonic()):
                raise RecallError(Fault.HELD, endpoint, retry_after=grant.wait)
            # A wait that the bucket itself named; nothing else could tell when the turn comes.
            time.sleep(grant.wait)
            if self._stop.is_requested:
                raise RecallError(Fault.CUT, endpoint)

    def close(self, bucket: Bucket, error: RecallError) -> None:
        """Close the bucket for everybody, for as long as the 429 says and never less."""
        self._limits.close(bucket, decide(error, 1).longest)


class LinkThreadPool:
    """Threads that link what they are handed; results come back by the inbox."""

    def __init__(self, size: int, link: Link, inbox: "queue.SimpleQueue[object]") -> None:
        self._size = size
        self._link = link
        self._inbox = inbox
        self._waiting: queue.SimpleQueue[Handed | None] = queue.SimpleQueue()
        self._started = 0

    def hand(self, claim: Claim, working: int) -> None:
        """Give a claim to the next free thread; one is started only while fewer than needed are."""
        if self._started < min(self._size, working):
            self._started += 1
            # Daemons: the end of a drain must not wait for a call that hangs.
            threading.Thread(target=self._work, name=f"link-{self._started}", daemon=True).start()
        self._waiting.put(Handed(claim, time.monotonic()))

    def dismiss(self) -> None:
        """Let each thread end after the call it is in."""
        for _ in range(self._started):
            self._waiting.put(None)

    def _work(self) -> None:
        while (handed := self._waiting.get()) is not None:
            try:
                self._inbox.put(self._link(handed))
            except Exception as error:
                # A bug of ours: the thread must live on, and the bot keeps its debt.
                logger.exception("linking broke", bot_id=handed.claim.bot_id)
                self._inbox.put(_broken(handed.claim, error))


def _broken(claim: Claim, error: Exception) -> LinkResult:
    now = datetime.now(UTC)
    failure = RecallError(Fault.INTERNAL, Endpoint.BOT, detail=type(error).__name__)
    return LinkResult(claim, started_at=now, finished_at=now, calls=(), failure=failure)
