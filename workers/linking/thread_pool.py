"""The threads that call Recall, over one pool of connections; none of them uses SQL."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from workers.linking.types import Claim, LinkResult
from workers.recall_api.errors import Endpoint, Fault, RecallError

# The limits' headroom is 3.9 calls a minute, which at 4.8 calls a second covers this delay.
TURN_SECONDS = 0.75

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Handed:
    """A claim on its way to a thread, and when it was handed over."""

    claim: Claim
    at: float

    @property
    def has_turn(self) -> bool:
        """Whether the turn that was taken with the claim is still valid.

        Used later, it would count towards another minute at Recall.
        """
        return time.monotonic() - self.at < TURN_SECONDS


Link = Callable[[Handed], LinkResult]


class LinkThreadPool:
    """Threads that link claimed bots; results come back through the inbox."""

    def __init__(self, size: int, link: Link, inbox: "queue.SimpleQueue[object]") -> None:
        self._size = size
        self._link = link
        self._inbox = inbox
        self._waiting: queue.SimpleQueue[Handed | None] = queue.SimpleQueue()
        self._started = 0

    def hand(self, claim: Claim, working: int) -> None:
        """Give a claim to the next free thread; starts one if `working` claims need it."""
        if self._started < min(self._size, working):
            self._started += 1
            # Daemons: a drain must be able to end while a call hangs.
            threading.Thread(target=self._work, name=f"link-{self._started}", daemon=True).start()
        self._waiting.put(Handed(claim, time.monotonic()))

    def dismiss(self) -> None:
        """Let each thread end after its current claim."""
        for _ in range(self._started):
            self._waiting.put(None)

    def _work(self) -> None:
        while (handed := self._waiting.get()) is not None:
            try:
                self._inbox.put(self._link(handed))
            except Exception as error:
                # A bug of ours: the thread goes on, and the bot stays due.
                logger.exception("linking failed unexpectedly", bot_id=handed.claim.bot_id)
                self._inbox.put(_broken(handed.claim, error))


def _broken(claim: Claim, error: Exception) -> LinkResult:
    now = datetime.now(UTC)
    failure = RecallError(Fault.INTERNAL, Endpoint.BOT, detail=type(error).__name__)
    return LinkResult(claim, started_at=now, finished_at=now, calls=(), failure=failure)
