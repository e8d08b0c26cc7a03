"""The claiming side of a drain: no more bots than threads are free and rate limits let start."""

import math
import time
from dataclasses import dataclass

from sqlalchemy import Connection

from workers.db.transactions import Database, in_transaction
from workers.linking.context import WorkerContext
from workers.linking.leases import any_claimable, claim, claim_suspect
from workers.linking.types import Claim
from workers.recall_api.circuit import read_workspace

# While calls are under way, how often to look for bots that fell due meanwhile.
IDLE_SECONDS = 0.5
RING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ClaimBatch:
    """Claimed bots, whether more are due, and after how many seconds to try for them.

    `again_in` is infinite where these must be settled before another is claimed; a probe is the
    one bot that tries Recall after the circuit was open.
    """

    claims: list[Claim]
    is_more_due: bool
    again_in: float
    is_probe: bool = False


class Claimer:
    """Claims bots for one drain."""

    def __init__(self, tools: WorkerContext, database: Database) -> None:
        self._tools = tools
        self._database = database
        self._ring_at = 0.0

    def claim(self, room: int, *, is_idle: bool) -> ClaimBatch:
        """Claim up to `room` bots; `is_idle` says that none are in hand."""
        bot_get = self._tools.buckets.bot_get
        # Outside the transaction: a Redis that hangs for a second must not hold a lock in SQL.
        grant = self._tools.limits.take(bot_get, room)
        if not grant.count:
            is_due = in_transaction(self._database, any_claimable)
            return ClaimBatch([], is_due, grant.wait)
        catch = in_transaction(
            self._database,
            lambda connection: self._claim(connection, grant.count, is_idle=is_idle),
        )
        unused = grant.count - sum(not one.is_fetched for one in catch.claims)
        # A bot that was fetched before needs no turn, and fewer may be due than there were turns.
        if unused:
            self._tools.limits.give_back(bot_get, unused)
        if len(catch.claims) == room:
            self._ring()
        return catch

    def _claim(self, connection: Connection, count: int, *, is_idle: bool) -> ClaimBatch:
        workspace = read_workspace(connection)
        self._tools.limits.heed(workspace.closed)
        if workspace.open_for or self._tools.buckets.bot_get.name in workspace.closed:
            return ClaimBatch([], is_more_due=False, again_in=IDLE_SECONDS)
        seconds = self._tools.settings.lease_seconds
        if is_idle and (suspects := claim_suspect(connection, seconds)):
            return ClaimBatch(suspects, is_more_due=True, again_in=math.inf)
        if workspace.on_probation:
            probe = claim(connection, 1, seconds) if is_idle else []
            return ClaimBatch(probe, is_more_due=bool(probe), again_in=math.inf, is_probe=True)
        claims = claim(connection, count, seconds)
        is_more_due = len(claims) == count
        return ClaimBatch(claims, is_more_due, 0.0 if is_more_due else IDLE_SECONDS)

    def _ring(self) -> None:
        # More is due than we have threads for: let idle workers join, but do not din.
        if time.monotonic() >= self._ring_at:
            self._ring_at = time.monotonic() + RING_SECONDS
            self._tools.bell.ring()
