"""What follows a failed call, as one pure function.

Status codes by https://docs.recall.ai/reference/errors.
"""

from dataclasses import dataclass
from enum import StrEnum

from models.tables.calendar import MeetingState
from workers.recall_api.errors import Endpoint, Fault, RecallError

MINUTE = 60.0
DAY = 24 * 60 * MINUTE
# Also the longest Retry-After that we obey, in case Recall sends an absurd one.
BACKOFF_CAP = 15 * MINUTE
FIRST_BACKOFF = 5.0
# Longer than a weekend, so that somebody can fix it.
LONGEST_RETRY = 3 * DAY
# An unknown bot may be another region's, or so new that Recall does not serve it yet.
BOT_NOT_FOUND_RETRY = 10 * MINUTE
# A wrong key stays wrong, and Recall may count each attempt against us.
WORKSPACE_WAIT = 5 * MINUTE
# For a 429 without a usable time: short, compared with the window of a minute.
UNNAMED_RETRY_AFTER = 10.0
RETRY_AFTER_JITTER = 1.0


class Then(StrEnum):
    """What to do next."""

    RETRY = "retry"
    CLOSE_BUCKET = "close_bucket"
    OPEN_CIRCUIT = "open_circuit"
    RENEW_TOKEN = "renew_token"  # noqa: S105 - a word, not a secret
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What follows one failure; the wait is random between `shortest` and `longest`.

    Times are in seconds. `gives_up_after` counts from when the bot became due; `state` is the final
    state of a meeting that is given up.
    """

    then: Then
    shortest: float = 0.0
    longest: float = 0.0
    is_attempt: bool = False
    gives_up_after: float | None = None
    state: MeetingState = "unfetchable"


_BACKS_OFF = frozenset(
    {Fault.NETWORK, Fault.TIMEOUT, Fault.BUSY, Fault.SERVER, Fault.UNREADABLE, Fault.INTERNAL}
)


def decide(error: RecallError, attempt: int) -> RetryDecision:
    """Return what follows this failure of the `attempt`-th attempt (the first is 1)."""
    if error.fault in _BACKS_OFF:
        return _back_off(error, attempt, LONGEST_RETRY)
    if error.fault is Fault.NOT_FOUND:
        return _not_found(error, attempt)
    if error.fault is Fault.TOKEN_REFUSED:
        return RetryDecision(Then.RENEW_TOKEN if attempt == 1 else Then.GIVE_UP, state="forbidden")
    return _whole_bucket_or_workspace(error)


def _not_found(error: RecallError, attempt: int) -> RetryDecision:
    if error.endpoint is Endpoint.BOT:
        return _back_off(error, attempt, BOT_NOT_FOUND_RETRY)
    is_meeting = error.endpoint is Endpoint.MEETING
    return RetryDecision(Then.GIVE_UP, state="gone" if is_meeting else "unfetchable")


def _whole_bucket_or_workspace(error: RecallError) -> RetryDecision:
    if error.fault is Fault.RATE_LIMITED:
        wait = retry_after_or(error, UNNAMED_RETRY_AFTER)
        return RetryDecision(Then.CLOSE_BUCKET, wait, wait + RETRY_AFTER_JITTER)
    if error.fault is Fault.WORKSPACE:
        return RetryDecision(Then.OPEN_CIRCUIT, WORKSPACE_WAIT, WORKSPACE_WAIT)
    if error.fault in (Fault.HELD, Fault.CUT):
        wait = retry_after_or(error, 0.0)
        return RetryDecision(Then.RETRY, wait, wait)
    return RetryDecision(Then.GIVE_UP)


def retry_after_or(error: RecallError, fallback: float) -> float:
    """Return the seconds that Recall asked for, at most 15 minutes; `fallback` if none."""
    if error.retry_after is None:
        return fallback
    return min(max(error.retry_after, 0.0), BACKOFF_CAP)


def _back_off(error: RecallError, attempt: int, gives_up_after: float) -> RetryDecision:
    # The exponent is limited, since a float could overflow; 2 ** 30 is over the cap anyway.
    longest = min(BACKOFF_CAP, FIRST_BACKOFF * 2.0 ** min(max(attempt, 1) - 1, 30))
    shortest = retry_after_or(error, 0.0)
    return RetryDecision(
        Then.RETRY,
        shortest,
        max(shortest, longest),
        is_attempt=True,
        gives_up_after=gives_up_after,
    )
