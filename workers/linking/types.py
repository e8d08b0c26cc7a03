"""Values of a drain: claims, and the results of linking."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from models.tables.calendar import MeetingState
from workers.recall_api.client import Call
from workers.recall_api.errors import RecallError
from workers.recall_api.schemas import BotBody, MeetingBody, MeetingRef


@dataclass(frozen=True, slots=True)
class KnownLink:
    """A stored link at the time of the claim: its reference, and its meeting's state."""

    ref: MeetingRef
    state: MeetingState
    is_open: bool

    def is_settled_for(self, ref: MeetingRef) -> bool:
        """Whether this reference needs no fetch: it has not moved, and its details are not owed."""
        moved = (ref.start_time, ref.end_time) != (self.ref.start_time, self.ref.end_time)
        # Gone, forbidden and unfetchable meetings are not fetched again either, except by a relink.
        return not moved and self.state != "owed"


@dataclass(frozen=True, slots=True)
class Claim:
    """A bot under our lease: every write for it names `lease_token`.

    `is_fetched` says that the bot's body was already read for this reason (`due_seq`), so that only
    owed meetings are left; `is_terminal` and `is_sealed` decide whether a link may end.
    """

    bot_id: str
    due_seq: int
    lease_token: str
    claimed_at: datetime
    attempts: int
    owed_seconds: float
    is_fetched: bool
    is_terminal: bool
    is_sealed: bool
    # From its first webhook to this claim; None if the bot was saved before.
    waited_seconds: float | None = None
    known: Mapping[str, KnownLink] = field(default_factory=dict)

    @property
    def lease(self) -> tuple[str, str]:
        """Return what distinguishes this claim from a later one of the same bot."""
        return self.bot_id, self.lease_token


@dataclass(frozen=True, slots=True)
class MeetingResult:
    """The result for one meeting: details, a reason, or an error that decides on a retry."""

    ref: MeetingRef
    state: MeetingState
    reason: str | None = None
    body: MeetingBody | None = None
    error: RecallError | None = None
    fetched_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LinkResult:
    """The result of one claim: `failure` is of the bot itself, `kept` needed no fetch."""

    claim: Claim
    started_at: datetime
    finished_at: datetime
    calls: tuple[Call, ...]
    bot: BotBody | None = None
    failure: RecallError | None = None
    fetched: tuple[MeetingResult, ...] = ()
    kept: tuple[MeetingRef, ...] = ()

    @property
    def has_failed(self) -> bool:
        """Whether any call failed."""
        return self.failure is not None or any(m.error is not None for m in self.fetched)
