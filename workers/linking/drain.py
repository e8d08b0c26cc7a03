"""The drain: apply what came in, then link what is due, for at most 20 seconds.

One thread, the drain's own, speaks to the database; the crew's threads speak to Recall. They meet
at an inbox.
"""

import math
import queue
import time
from collections.abc import Sequence

from workers.db.transactions import Writer, in_transaction
from workers.linking.apply_deliveries import BATCH, apply_batch
from workers.linking.claiming import Claimer
from workers.linking.context import WorkerContext
from workers.linking.leases import release, renew
from workers.linking.linker import Linker
from workers.linking.saving import ResultSaver
from workers.linking.thread_pool import Handed, LimitTurnstile, LinkThreadPool
from workers.linking.token_broker import BrokeredTokens, TokenBroker, TokenMessage
from workers.linking.types import Claim, LinkResult
from workers.recall_api.client import Recall
from workers.shutdown import Stop

# A third of RQ's job timeout: the end is ours to choose, not an alarm's.
DRAIN_SECONDS = 20.0
# A bot claimed later than this would have too little time for its calls.
CLAIM_SECONDS = 15.0
# A dyno has 30 s from SIGTERM to SIGKILL, and the parent gives its children 12 of them.
STOP_SECONDS = 4.0
# What a call that was cut at the end may take to say so.
LAST_WORDS_SECONDS = 1.0
APPLY_SECONDS = 0.5


class Drain:
    """One run over what is due; a stop ends it early, with 4 s for what is in hand."""

    def __init__(self, tools: WorkerContext, stop: Stop) -> None:
        now = time.monotonic()
        self._tools = tools
        self._stop = stop
        self._until = now + DRAIN_SECONDS
        self._ends_at = self._until + LAST_WORDS_SECONDS
        self._claims_until = now + CLAIM_SECONDS
        self._claim_at = self._apply_at = now
        self._renew_at = now + tools.settings.lease_seconds / 3
        self._is_more_due = True
        self._has_backlog = False
        self._is_probing = False
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._in_flight: dict[tuple[str, str], Claim] = {}
        self._writer = Writer(tools.engine)
        self._claimer = Claimer(tools, self._writer)
        self._saver = ResultSaver(self._writer)
        self._desk = TokenBroker(tools.vault)
        self._tokens = BrokeredTokens(self._inbox, self._until)
        self._turnstile = LimitTurnstile(tools.limits, stop, self._until)
        self._crew = LinkThreadPool(tools.settings.worker_threads, self._link, self._inbox)
        self.settled = 0

    def run(self) -> int:
        """Drain; returns how many bots were settled."""
        self._stop.wakes(self._inbox)
        try:
            while self._has_reason_to_go_on():
                self._turn()
            # Tokens that no result came after.
            self._save([])
            if self._is_more_due and not self._stop.is_requested:
                # What is left over would wait for a sweep: five idle seconds in each twenty.
                self._tools.bell.ring()
        finally:
            # Not joined: a call that hangs ends by its own deadline, the end of this drain.
            self._crew.dismiss()
            # A process that stays drains thousands of times: each would keep its late answers.
            self._stop.forget(self._inbox)
            try:
                self._release()
            finally:
                # A poller drains again, and its pool has this one connection.
                self._writer.close()
        return self.settled

    def _has_reason_to_go_on(self) -> bool:
        now = time.monotonic()
        if self._in_flight:
            return now < self._ends_at
        # A drain that waits for a bucket would keep a worker busy with waiting: the sweep comes
        # back.
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
        # Nothing under way and nothing due: a bell that rings now waits for this drain's end.
        if self._has_reason_to_go_on():
            self._handle(self._gather())
        if self._stop.is_requested:
            self._ends_at = min(self._ends_at, time.monotonic() + STOP_SECONDS)

    def _apply(self, now: float) -> None:
        # Before claiming, and again while calls are under way: what lands now may fall due now. A
        # batch a turn, and a small one while no thread has work: neither they nor leases wait for
        # the whole of a backlog.
        size = BATCH if self._in_flight else self._tools.settings.worker_threads
        applied = apply_batch(self._writer, size)
        self._has_backlog = applied >= size
        self._apply_at = now if self._has_backlog else now + APPLY_SECONDS
        if applied and self._claim_at < math.inf:
            self._claim_at, self._is_more_due = now, True

    def _claim_more(self) -> None:
        room = self._room
        if room <= 0:
            return
        catch = self._claimer.claim(room, is_idle=not self._in_flight)
        self._is_more_due, self._is_probing = catch.is_more_due, catch.is_probe
        self._claim_at = time.monotonic() + catch.again_in
        for claim in catch.claims:
            self._in_flight[claim.lease] = claim
            self._crew.hand(claim, len(self._in_flight))

    @property
    def _room(self) -> int:
        return self._tools.settings.worker_threads - len(self._in_flight)

    def _renew(self) -> None:
        seconds = self._tools.settings.lease_seconds
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
        self._serve([m for m in messages if isinstance(m, TokenMessage)])
        # What came in while the last results were saved is saved together: the busier, the more.
        if results := [message for message in messages if isinstance(message, LinkResult)]:
            self._save(results)

    def _serve(self, messages: Sequence[TokenMessage]) -> None:
        if question := self._desk.take(messages):
            # A thread waits for this: it is not put off until the next results are written.
            facts = in_transaction(self._writer.singly, lambda c: self._desk.ask(c, question))
            self._desk.tell(question, facts)

    def _save(self, results: list[LinkResult]) -> None:
        if minted := self._desk.unsaved:
            in_transaction(self._writer, lambda c: self._desk.save(c, minted))
            self._desk.mark_saved(minted)
        if not results:
            return
        self.settled += self._saver.save(results, is_probing=self._is_probing)
        for result in results:
            self._in_flight.pop(result.claim.lease, None)
        if not self._in_flight:
            # Once more before the end: what landed meanwhile may have rung nobody else.
            self._apply_at = self._claim_at = time.monotonic()
            self._is_more_due = True

    def _release(self) -> None:
        held = list(self._in_flight.values())
        if held:
            # Cleared first: a second call, from the finally, must not wait for the database again.
            self._in_flight.clear()
            in_transaction(self._writer, lambda connection: release(connection, held), 1.0)

    def _link(self, handed: Handed) -> LinkResult:
        settings = self._tools.settings
        recall = Recall(self._tools.http, settings.api_url, settings.api_key, until=self._until)
        linker = Linker(
            recall,
            self._tokens,
            self._tools.buckets,
            self._turnstile,
            has_turn=handed.has_turn,
        )
        return linker.link_bot(handed.claim)
