"""The drain: apply what came in, then link what is due, for at most 20 seconds.

One thread, the drain's own, speaks to the database; the crew's threads speak to Recall. They meet
at an inbox.
"""

import queue
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from workers.apply import apply_all
from workers.claimer import Claimer
from workers.claims import Claim, LinkResult
from workers.crew import Crew, LimitTurnstile
from workers.desk import DeskTokens, TokenAsked, TokenDesk, TokenDropped, TokenKept
from workers.judge import Verdict, judge
from workers.lease import release, renew
from workers.link import Linker
from workers.patience import in_transaction, is_the_rows_fault
from workers.recall import Caller, Recall
from workers.settle import log_settled, settle, settle_one_by_one
from workers.stop import Stop
from workers.tally import add_tallies, tallies_of
from workers.tools import Tools
from workers.workspace import close_circuit, learn

# A third of RQ's job timeout: the end is ours to choose, not an alarm's.
DRAIN_SECONDS = 20.0
# A bot claimed later than this would have too little time for its calls.
CLAIM_SECONDS = 15.0
# A dyno has 30 s from SIGTERM to SIGKILL, and the parent gives its children 12 of them.
STOP_SECONDS = 4.0
# What a call that was cut at the end may take to say so.
LAST_WORDS_SECONDS = 1.0
APPLY_SECONDS = 0.5

logger = structlog.stdlib.get_logger(__name__)

Settler = Callable[[Connection, Sequence[Verdict]], list[Verdict]]


class Drain:
    """One run over what is due; a stop ends it early, with 4 s for what is in hand."""

    def __init__(self, tools: Tools, stop: Stop) -> None:
        now = time.monotonic()
        self._tools = tools
        self._stop = stop
        self._until = now + DRAIN_SECONDS
        self._ends_at = self._until + LAST_WORDS_SECONDS
        self._claims_until = now + CLAIM_SECONDS
        self._claim_at = self._apply_at = now
        self._renew_at = now + tools.settings.lease_seconds / 3
        self._is_more_due = True
        self._is_probing = False
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._in_flight: dict[str, Claim] = {}
        self._claimer = Claimer(tools)
        self._desk = TokenDesk(tools.vault)
        self._tokens = DeskTokens(self._inbox, self._until)
        self._turnstile = LimitTurnstile(tools.limits, stop, self._until)
        self._crew = Crew(tools.settings.worker_threads, self._link, tools.context, self._inbox)
        self.settled = 0

    def run(self) -> int:
        """Drain; returns how many bots were settled."""
        self._stop.wakes(self._inbox)
        try:
            while self._has_reason_to_go_on():
                self._turn()
            if self._is_more_due and not self._stop.is_requested:
                # What is left over would wait for a sweep: five idle seconds in each twenty.
                self._tools.bell.ring()
        finally:
            # Not joined: a call that hangs ends by its own deadline, and the process ends before
            # that.
            self._crew.dismiss()
            self._release()
        return self.settled

    def _has_reason_to_go_on(self) -> bool:
        now = time.monotonic()
        if self._in_flight:
            return now < self._ends_at
        # A drain that waits for a bucket would keep a worker busy with waiting: the sweep comes
        # back.
        return self._is_more_due and self._may_claim() and self._claim_at < self._claims_until

    def _may_claim(self) -> bool:
        return not self._stop.is_requested and time.monotonic() < self._claims_until

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._apply_at:
            # Before claiming, and again while calls are under way: what lands now may fall due now.
            apply_all(self._tools.engine)
            self._apply_at = now + APPLY_SECONDS
        if now >= self._claim_at and self._may_claim():
            self._claim_more()
        if now >= self._renew_at:
            self._renew()
        self._handle(self._gather())
        if self._stop.is_requested:
            self._ends_at = min(self._ends_at, time.monotonic() + STOP_SECONDS)

    def _claim_more(self) -> None:
        room = self._tools.settings.worker_threads - len(self._in_flight)
        if room <= 0:
            return
        catch = self._claimer.claim(room, is_idle=not self._in_flight)
        self._is_more_due, self._is_probing = catch.is_more_due, catch.is_probe
        self._claim_at = time.monotonic() + catch.again_in
        for claim in catch.claims:
            self._in_flight[claim.bot_id] = claim
            self._crew.hand(claim, len(self._in_flight))

    def _renew(self) -> None:
        seconds = self._tools.settings.lease_seconds
        held = list(self._in_flight.values())
        if held:
            in_transaction(self._tools.engine, lambda connection: renew(connection, held, seconds))
        self._renew_at = time.monotonic() + seconds / 3

    def _gather(self) -> list[object]:
        wake_at = min(self._renew_at, self._apply_at, self._ends_at)
        if self._may_claim() and len(self._in_flight) < self._tools.settings.worker_threads:
            wake_at = min(wake_at, self._claim_at)
        messages: list[object] = []
        try:
            messages.append(self._inbox.get(timeout=max(0.0, wake_at - time.monotonic())))
            while True:
                messages.append(self._inbox.get_nowait())
        except queue.Empty:
            return messages

    def _handle(self, messages: list[object]) -> None:
        tokens = [m for m in messages if isinstance(m, TokenAsked | TokenKept | TokenDropped)]
        results = [m for m in messages if isinstance(m, LinkResult)]
        if tokens:
            in_transaction(self._tools.engine, lambda c: self._desk.handle(c, tokens))
        if results:
            self._settle(results)

    def _settle(self, results: list[LinkResult]) -> None:
        # Outside the transaction, which may run twice: a wait is drawn by chance, but once.
        verdicts = [judge(result) for result in results]

        def write(connection: Connection, by: Settler) -> list[Verdict]:
            learn(connection, results)
            if self._is_probing and any(result.bot for result in results):
                close_circuit(connection)
            settled = by(connection, verdicts)
            add_tallies(connection, tallies_of(settled))
            return settled

        try:
            settled = in_transaction(self._tools.engine, partial(write, by=settle))
        except Exception as error:
            if not is_the_rows_fault(error):
                raise
            one_by_one = partial(write, by=settle_one_by_one)
            settled = in_transaction(self._tools.engine, one_by_one)
        log_settled(settled)
        self.settled += len(settled)
        for result in results:
            self._in_flight.pop(result.claim.bot_id, None)
        if not self._in_flight:
            # Once more before the end: what landed meanwhile may have rung nobody else.
            self._apply_at = self._claim_at = time.monotonic()
            self._is_more_due = True

    def _release(self) -> None:
        held = list(self._in_flight.values())
        if held:
            # Cleared first: a second call, from the finally, must not wait for the database again.
            self._in_flight.clear()
            in_transaction(self._tools.engine, lambda connection: release(connection, held), 1.0)

    def _link(self, wire: Caller, claim: Claim) -> LinkResult:
        settings = self._tools.settings
        recall = Recall(wire, settings.api_url, settings.api_key, until=self._until)
        linker = Linker(recall, self._tokens, self._tools.buckets, self._turnstile)
        return linker.link_bot(claim)
