"""The retry table: what follows each failure, line by line."""

import pytest

from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.retry_policy import BACKOFF_CAP, RetryDecision, Then, decide

DAYS_3 = 3 * 24 * 3600
BOT, TOKEN, MEETING = Endpoint.BOT, Endpoint.AUTHENTICATE, Endpoint.MEETING


def backoff(longest: float, shortest: float = 0.0, until: float = DAYS_3) -> RetryDecision:
    """A counted attempt that is tried again."""
    return RetryDecision(Then.RETRY, shortest, longest, is_attempt=True, gives_up_after=until)


@pytest.mark.parametrize("endpoint", list(Endpoint))
@pytest.mark.parametrize(
    "fault",
    [Fault.NETWORK, Fault.TIMEOUT, Fault.BUSY, Fault.SERVER, Fault.UNREADABLE, Fault.INTERNAL],
)
def test_what_may_heal_backs_off_for_three_days(fault: Fault, endpoint: Endpoint) -> None:
    """Uniform in 0 … min(15 min, 5 s · 2^(attempt-1)), each an attempt."""
    error = RecallError(fault, endpoint)
    waits = [decide(error, attempt) for attempt in (1, 2, 3, 8, 9, 5000)]
    assert waits == [backoff(w) for w in (5, 10, 20, 640, BACKOFF_CAP, BACKOFF_CAP)]
    assert error.waiting_helps


TABLE = [
    (Fault.RATE_LIMITED, BOT, 7.0, RetryDecision(Then.CLOSE_BUCKET, 7, 8)),
    (Fault.RATE_LIMITED, TOKEN, None, RetryDecision(Then.CLOSE_BUCKET, 10, 11)),
    (Fault.RATE_LIMITED, MEETING, 0.0, RetryDecision(Then.CLOSE_BUCKET, 0, 1)),
    (Fault.RATE_LIMITED, BOT, 86_400_000.0, RetryDecision(Then.CLOSE_BUCKET, 900, 901)),
    (Fault.SERVER, BOT, 30.0, backoff(30, shortest=30)),
    (Fault.WORKSPACE, BOT, None, RetryDecision(Then.OPEN_CIRCUIT, 300, 300)),
    (Fault.WORKSPACE, TOKEN, None, RetryDecision(Then.OPEN_CIRCUIT, 300, 300)),
    (Fault.WORKSPACE, MEETING, None, RetryDecision(Then.OPEN_CIRCUIT, 300, 300)),
    (Fault.TOKEN_REFUSED, MEETING, None, RetryDecision(Then.RENEW_TOKEN, state="forbidden")),
    (Fault.NOT_FOUND, MEETING, None, RetryDecision(Then.GIVE_UP, state="gone")),
    (Fault.NOT_FOUND, TOKEN, None, RetryDecision(Then.GIVE_UP)),
    (Fault.NOT_FOUND, BOT, None, backoff(5, until=600)),
    (Fault.REFUSED, BOT, None, RetryDecision(Then.GIVE_UP)),
    (Fault.REFUSED, MEETING, None, RetryDecision(Then.GIVE_UP)),
    (Fault.WRONG_BODY, BOT, None, RetryDecision(Then.GIVE_UP)),
    (Fault.TOO_LARGE, BOT, None, RetryDecision(Then.GIVE_UP)),
    (Fault.HELD, TOKEN, 2.5, RetryDecision(Then.RETRY, 2.5, 2.5)),
    (Fault.CUT, MEETING, None, RetryDecision(Then.RETRY)),
]


@pytest.mark.parametrize(("fault", "endpoint", "retry_after", "decision"), TABLE)
def test_the_first_failure_is_followed_by(
    fault: Fault, endpoint: Endpoint, retry_after: float | None, decision: RetryDecision
) -> None:
    """The table of the design, row by row."""
    assert decide(RecallError(fault, endpoint, retry_after=retry_after), 1) == decision


def test_a_token_refused_twice_ends_the_meeting_as_forbidden() -> None:
    """One fresh token is asked for, not two."""
    decision = decide(RecallError(Fault.TOKEN_REFUSED, MEETING, status=401), 2)
    assert decision == RetryDecision(Then.GIVE_UP, state="forbidden")


def test_every_fault_has_a_decision_on_every_endpoint() -> None:
    """No fault falls through; none of them is an endless loop without waiting, but a cut."""
    for fault in Fault:
        for endpoint in Endpoint:
            decision = decide(RecallError(fault, endpoint), 2)
            assert decision.longest >= decision.shortest >= 0
            if decision.then is Then.RETRY and fault not in (Fault.CUT, Fault.HELD):
                assert decision.longest > 0


def test_an_error_knows_whether_waiting_helps() -> None:
    """The faults given up at once are those where it does not."""
    for fault in set(Fault) - {Fault.NOT_FOUND}:
        gives_up = decide(RecallError(fault, BOT), 2).then is Then.GIVE_UP
        assert RecallError(fault, BOT).waiting_helps is not gives_up


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RecallError(Fault.SERVER, BOT, status=503), "http_503"),
        (RecallError(Fault.NOT_FOUND, BOT, status=404), "bot_not_found"),
        (RecallError(Fault.NOT_FOUND, MEETING, status=404), "http_404"),
        (RecallError(Fault.UNREADABLE, BOT, status=200), "unreadable"),
        (RecallError(Fault.TIMEOUT, BOT), "timeout"),
    ],
)
def test_a_reason_is_one_word(error: RecallError, reason: str) -> None:
    """What columns and filters hold."""
    assert error.reason == reason
    assert str(error).startswith(f"{reason}: ")
