"""The drain: apply what came in, then link what is due, for at most 20 seconds.

The drain's own thread uses the database; the link threads call Recall. Their results and questions
come back through an inbox.
"""

import math
import queue
import time

from workers.db.transactions import Writer, in_transaction
from workers.linking.apply_deliveries import BATCH, apply_batch
from workers.linking.claiming import BotClaims
from workers.linking.context import WorkerContext
from workers.linking.leases import release, renew
from workers.linking.linker import Linker
from workers.linking.saving import ResultSaver
from workers.linking.thread_pool import Handed, LinkThreadPool
from workers.linking.token_broker import BrokeredTokens, TokenBroker, TokenMessage
from workers.linking.types import Claim, LinkResult
from workers.recall_api.client import Recall
from workers.recall_api.turns import Turns
from workers.shutdown import Stop

# A third of RQ's job timeout, so that RQ never has to interrupt a drain.
DRAIN_SECONDS = 20.0
# A bot that is claimed later would have too little time for its calls.
CLAIM_SECONDS = 15.0
# Heroku sends SIGKILL 30 s after SIGTERM; the supervisor gives its children 12 s of that.
STOP_SECONDS = 4.0
# How long the results of calls that were cut off may take to arrive.
LAST_WORDS_SECONDS = 1.0
APPLY_SECONDS = 0.5
# A turn further away is not waited for: the thread is better used for another bot.
LONGEST_WAIT = 3.0


class Drain:
    """One run over what is due; a stop ends it early, with 4 s for bots in progress."""

    def __init__(self, context: WorkerContext, stop: Stop) -> None:
        now = time.monotonic()
        self._context = context
        self._stop = stop
        self._until = now + DRAIN_SECONDS
        self._ends_at = self._until + LAST_WORDS_SECONDS
        self._claims_until = now + CLAIM_SECONDS
        self._claim_at = self._apply_at = now
        self._renew_at = now + context.settings.lease_seconds / 3
        self._is_more_due = True
        self._has_backlog = False
        self._is_probing = False
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._in_flight: dict[tuple[str, str], Claim] = {}
        self._writer = Writer(context.engine)
        self._claims = BotClaims(context, self._writer)
        self._saver = ResultSaver(self._writer)
        self._broker = TokenBroker(context.vault, self._writer)
        self._tokens = BrokeredTokens(self._inbox, self._until)
        self._turns = Turns(context.limits, longest_wait=LONGEST_WAIT, until=self._until, stop=stop)
        self._threads = LinkThreadPool(context.settings.worker_threads, self._link, self._inbox)
        self.saved = 0

    def run(self) -> int:
        """Drain; returns how many bots were saved."""
        self._stop.wakes(self._inbox)
        try:
            while self._has_work():
                self._turn()
            # New tokens that no result followed.
            self._save([])
            if self._is_more_due and not self._stop.is_requested:
                # Without a wake-up the rest would wait for the next sweep, up to five seconds.
                self._context.wakeup.send()
        finally:
            # Not joined: a call that hangs ends by its own deadline, which is this drain's end.
            self._threads.dismiss()
            # Otherwise each of a process's thousands of drains would keep its inbox in memory.
            self._stop.forget(self._inbox)
            try:
                self._release()
            finally:
                # The pool has one connection, and the next drain needs it.
                self._writer.close()
        return self.saved

    def _has_work(self) -> bool:
        now = time.monotonic()
        if self._in_flight:
            return now < self._ends_at
        # A drain does not wait for a rate limit: the next sweep looks again.
        has_more = self._is_more_due or self._has_backlog
        return has_more and self._may_claim() and self._claim_at < self._claims_until

    def _may_claim(self) -> bool:
        return not self._stop.is_requested and time.monotonic() < self._claims_until

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._apply_at:
            self._apply(now)
        if now >= self._claim_at and self._may_claim():
            self._claim_more()
        if now >= self._renew_at:
            self._renew()
        # With nothing in progress and nothing due the drain ends; a wake-up starts the next one.
        if self._has_work():
            self._handle(self._gather())
        if self._stop.is_requested:
            self._ends_at = min(self._ends_at, time.monotonic() + STOP_SECONDS)

    def _apply(self, now: float) -> None:
        # Before claiming, and again while calls are in progress: new deliveries may make bots due.
        # One batch a turn, and a small one while no thread has work, so that a backlog delays
        # neither threads nor leases.
        size = BATCH if self._in_flight else self._context.settings.worker_threads
        applied = apply_batch(self._writer, size)
        self._has_backlog = applied >= size
        self._apply_at = now if self._has_backlog else now + APPLY_SECONDS
        if applied and self._claim_at < math.inf:
            self._claim_at, self._is_more_due = now, True

    def _claim_more(self) -> None:
        room = self._room
        if room <= 0:
            return
        batch = self._claims.claim(room, is_idle=not self._in_flight)
        self._is_more_due, self._is_probing = batch.is_more_due, batch.is_probe
        self._claim_at = time.monotonic() + batch.again_in
        for claim in batch.claims:
            self._in_flight[claim.lease] = claim
            self._threads.hand(claim, len(self._in_flight))

    @property
    def _room(self) -> int:
        return self._context.settings.worker_threads - len(self._in_flight)

    def _renew(self) -> None:
        seconds = self._context.settings.lease_seconds
        held = list(self._in_flight.values())
        if held:
            in_transaction(self._writer, lambda connection: renew(connection, held, seconds))
        self._renew_at = time.monotonic() + seconds / 3

    def _gather(self) -> list[object]:
        wake_at = min(self._renew_at, self._apply_at, self._ends_at)
        if self._may_claim() and self._room:
            wake_at = min(wake_at, self._claim_at)
        messages: list[object] = []
        try:
            messages.append(self._inbox.get(timeout=max(0.0, wake_at - time.monotonic())))
            while True:
                messages.append(self._inbox.get_nowait())
        except queue.Empty:
            return messages

    def _handle(self, messages: list[object]) -> None:
        self._broker.serve([m for m in messages if isinstance(m, TokenMessage)])
        # Results that arrived during the last save are saved together.
        if results := [message for message in messages if isinstance(message, LinkResult)]:
            self._save(results)

    def _save(self, results: list[LinkResult]) -> None:
        self._broker.save()
        if not results:
            return
        self.saved += self._saver.save(results, is_probing=self._is_probing)
        for result in results:
            self._in_flight.pop(result.claim.lease, None)
        if not self._in_flight:
            # Look once more before the end: no other worker may have been woken meanwhile.
            self._apply_at = self._claim_at = time.monotonic()
            self._is_more_due = True

    def _release(self) -> None:
        held = list(self._in_flight.values())
        if held:
            # Cleared first, so that a second call does not wait for the database again.
            self._in_flight.clear()
            in_transaction(self._writer, lambda connection: release(connection, held), 1.0)

    def _link(self, handed: Handed) -> LinkResult:
        settings = self._context.settings
        recall = Recall(self._context.http, settings.api_url, settings.api_key, until=self._until)
        linker = Linker(
            recall,
            self._tokens,
            self._context.buckets,
            self._turns,
            has_turn=handed.has_turn,
        )
        return linker.link_bot(handed.claim)
