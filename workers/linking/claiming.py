"""Claims bots for a drain: as many as there are free threads and turns in the rate limit."""

import math
import time
from dataclasses import dataclass

from sqlalchemy import Connection

from workers.db.transactions import Database, in_transaction
from workers.linking.context import WorkerContext
from workers.linking.leases import any_claimable, claim, claim_suspect
from workers.linking.types import Claim
from workers.recall_api.circuit import read_workspace

# While calls are in progress, how often to look for bots that became due.
IDLE_SECONDS = 0.5
WAKE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ClaimBatch:
    """Claimed bots, whether more are due, and in how many seconds to claim again.

    `again_in` is infinite where these must be saved before the next claim; a probe is the one bot
    that tries Recall after the circuit was open.
    """

    claims: list[Claim]
    is_more_due: bool
    again_in: float
    is_probe: bool = False


class BotClaims:
    """Claims bots for one drain."""

    def __init__(self, context: WorkerContext, database: Database) -> None:
        self._context = context
        self._database = database
        self._wake_at = 0.0

    def claim(self, room: int, *, is_idle: bool) -> ClaimBatch:
        """Claim up to `room` bots; `is_idle` says that none are in progress."""
        bot_get = self._context.buckets.bot_get
        # Outside the transaction: no lock in SQL may wait for a Redis that hangs.
        grant = self._context.limits.take(bot_get, room)
        if not grant.count:
            is_due = in_transaction(self._database, any_claimable)
            return ClaimBatch([], is_due, grant.wait)
        batch = in_transaction(
            self._database,
            lambda connection: self._claim(connection, grant.count, is_idle=is_idle),
        )
        unused = grant.count - sum(not one.is_fetched for one in batch.claims)
        # Bots that were fetched before need no turn, and fewer bots may be due than turns.
        if unused:
            self._context.limits.give_back(bot_get, unused)
        if len(batch.claims) == room:
            self._wake()
        return batch

    def _claim(self, connection: Connection, count: int, *, is_idle: bool) -> ClaimBatch:
        workspace = read_workspace(connection)
        self._context.limits.heed(workspace.closed)
        if workspace.open_for or self._context.buckets.bot_get.name in workspace.closed:
            return ClaimBatch([], is_more_due=False, again_in=IDLE_SECONDS)
        seconds = self._context.settings.lease_seconds
        if is_idle and (suspects := claim_suspect(connection, seconds)):
            return ClaimBatch(suspects, is_more_due=True, again_in=math.inf)
        if workspace.on_probation:
            probe = claim(connection, 1, seconds) if is_idle else []
            return ClaimBatch(probe, is_more_due=bool(probe), again_in=math.inf, is_probe=True)
        claims = claim(connection, count, seconds)
        is_more_due = len(claims) == count
        return ClaimBatch(claims, is_more_due, 0.0 if is_more_due else IDLE_SECONDS)

    def _wake(self) -> None:
        # More is due than we have threads for: wake idle workers, but at most once a second.
        if time.monotonic() >= self._wake_at:
            self._wake_at = time.monotonic() + WAKE_SECONDS
            self._context.wakeup.send()
