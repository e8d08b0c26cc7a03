"""The outcome of one attempt to link a bot: pure functions."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from models.tables.bot import LinkState
from workers.linking.linker import refs_of
from workers.linking.types import Claim, LinkResult, MeetingResult
from workers.recall_api.errors import RecallError
from workers.recall_api.retry_policy import RetryDecision, Then, decide
from workers.recall_api.schemas import MeetingRef

Uniform = Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class LinkOutcome:
    """What to save of an attempt. `due_in` is seconds until the next attempt; None if none is due.

    `link_state` None leaves the state unchanged: the bot could not be fetched and is retried.
    """

    result: LinkResult
    attempt_outcome: str
    link_state: LinkState | None
    due_in: float | None
    is_attempt: bool
    error: str | None
    meetings: tuple[MeetingResult, ...]
    open_refs: tuple[MeetingRef, ...]
    left: tuple[str, ...]
    seals: bool


def outcome_of(result: LinkResult, uniform: Uniform = random.uniform) -> LinkOutcome:
    """Return the outcome of this result."""
    # The bot could not be fetched, so its meetings are unknown and stay unchanged.
    if result.failure is not None:
        return _outcome_of_failure(result, result.failure, uniform)
    claim = result.claim
    # Only owed meetings decide when to retry; what was given up stays so.
    meetings = tuple(_given_up_in_time(claim, meeting) for meeting in result.fetched)
    owed = [m for m in meetings if m.state == "owed" and m.error is not None]
    decisions = [decide(m.error, claim.attempts + 1) for m in owed if m.error is not None]
    refs = refs_of(claim, result.bot)
    unusable = result.bot.unusable if result.bot else 0
    link_state = _link_state(claim, refs, owed, unusable)
    return LinkOutcome(
        result=result,
        attempt_outcome=link_state,
        link_state=link_state,
        due_in=_soonest(decisions, uniform),
        is_attempt=any(decision.is_attempt for decision in decisions),
        error=_words(owed, unusable),
        meetings=meetings,
        open_refs=refs,
        left=_left(claim, refs),
        seals=claim.is_terminal and not claim.is_sealed,
    )


def _outcome_of_failure(result: LinkResult, failure: RecallError, uniform: Uniform) -> LinkOutcome:
    claim = result.claim
    decision = decide(failure, claim.attempts + 1)
    gives_up = _gives_up(decision, claim)
    due_in = None if gives_up else uniform(decision.shortest, decision.longest)
    return LinkOutcome(
        result=result,
        attempt_outcome="failed" if gives_up else _outcome_of_wait(decision),
        # A linked bot stays linked while a later look-up is retried.
        link_state="failed" if gives_up else None,
        due_in=due_in,
        is_attempt=decision.is_attempt or gives_up,
        error=str(failure),
        meetings=(),
        open_refs=(),
        left=(),
        seals=False,
    )


def _outcome_of_wait(decision: RetryDecision) -> str:
    return "retry" if decision.is_attempt else "waiting"


def _gives_up(decision: RetryDecision, claim: Claim) -> bool:
    if decision.then is Then.GIVE_UP:
        return True
    # Counted from when the bot became due, and not from the first attempt.
    limit = decision.gives_up_after
    return limit is not None and claim.owed_seconds >= limit


def _given_up_in_time(claim: Claim, meeting: MeetingResult) -> MeetingResult:
    if meeting.state != "owed" or meeting.error is None:
        return meeting
    if not _gives_up(decide(meeting.error, claim.attempts + 1), claim):
        return meeting
    return MeetingResult(meeting.ref, "unfetchable", meeting.reason, error=meeting.error)


def _link_state(
    claim: Claim, refs: tuple[MeetingRef, ...], owed: list[MeetingResult], unusable: int
) -> LinkState:
    # Unusable meetings are neither owed, since no retry would help, nor linked.
    if owed or unusable:
        return "partial"
    if refs:
        return "linked"
    # A sealed bot keeps its links: reconnecting a calendar empties Recall's list.
    still_open = claim.is_sealed and any(known.is_open for known in claim.known.values())
    return "linked" if still_open else "no_meetings"


def _soonest(decisions: list[RetryDecision], uniform: Uniform) -> float | None:
    waits = [uniform(decision.shortest, decision.longest) for decision in decisions]
    # The soonest: all are retried then, and those still held by a limit cost no call.
    return min(waits, default=None)


def _words(owed: list[MeetingResult], unusable: int) -> str | None:
    if owed:
        return str(owed[0].error)
    if unusable:
        return f"unusable_meeting: {unusable} of the bot's calendar_meetings cannot be read"
    return None


def _left(claim: Claim, refs: tuple[MeetingRef, ...]) -> tuple[str, ...]:
    listed = {ref.meeting_id for ref in refs}
    return tuple(
        meeting_id
        for meeting_id, known in claim.known.items()
        if known.is_open and meeting_id not in listed
    )
