"""What a drain knows of a bot it has claimed, and what linking it came to: values, no SQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from models.tables.calendar import MeetingState
from workers.recall_api.client import Call
from workers.recall_api.errors import RecallError
from workers.recall_api.schemas import BotBody, MeetingBody, MeetingRef


@dataclass(frozen=True, slots=True)
class KnownLink:
    """A link on file at the claim: as the bot's body told it, and how its meeting stands."""

    ref: MeetingRef
    state: MeetingState
    is_open: bool

    def is_settled_for(self, ref: MeetingRef) -> bool:
        """Whether this reference needs no fetch: it has not moved and nothing of it is owed."""
        moved = (ref.start_time, ref.end_time) != (self.ref.start_time, self.ref.end_time)
        # Gone, forbidden and unfetchable are settled, too: a new reason alone asks again, whole.
        return not moved and self.state != "owed"


@dataclass(frozen=True, slots=True)
class Claim:
    """A bot under our lease: every write of what comes of it names `lease_token`.

    `is_fetched` says that the bot's body was already read for this reason (`due_seq`), so that
    only its owed meetings are left; `is_terminal` and `is_sealed` decide what may end a link.
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
    # From its first webhook to this claim; None when it was settled before.
    waited_seconds: float | None = None
    known: Mapping[str, KnownLink] = field(default_factory=dict)

    @property
    def lease(self) -> tuple[str, str]:
        """Return what tells this claim from a later one of the same bot."""
        return self.bot_id, self.lease_token


@dataclass(frozen=True, slots=True)
class MeetingResult:
    """What came of one meeting: details, a reason, or an error that decides when to try again."""

    ref: MeetingRef
    state: MeetingState
    reason: str | None = None
    body: MeetingBody | None = None
    error: RecallError | None = None
    fetched_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LinkResult:
    """What came of one claim. `failure` is the bot's own; `kept` needed no fetch."""

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
        """Whether any call of it came to an error."""
        return self.failure is not None or any(m.error is not None for m in self.fetched)
