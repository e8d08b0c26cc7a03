"""How one try settles its bot: a table over what can come back."""

from datetime import timedelta

import pytest

from tests.support.fakes import MEETINGS, START, a_claim, ref
from workers.linking.outcome import LinkOutcome, outcome_of
from workers.linking.types import Claim, KnownLink, LinkResult, MeetingResult
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.schemas import BotBody, MeetingRef


def highest(_shortest: float, longest: float) -> float:
    """In place of chance: the longest wait."""
    return longest


def body(*refs: MeetingRef, unusable: int = 0) -> BotBody:
    """A bot's body with these meetings."""
    return BotBody(refs, unusable, None, None, None, None)


def outcome(claim: Claim, **fields: object) -> LinkOutcome:
    """Judge a result."""
    given = {"started_at": START, "finished_at": START + timedelta(seconds=1), "calls": ()}
    return outcome_of(LinkResult(claim=claim, **given | fields), highest)  # type: ignore[arg-type]


def owed(number: int, fault: Fault, **details: object) -> MeetingResult:
    """A meeting that could not be fetched yet."""
    error = RecallError(fault, Endpoint.MEETING, **details)  # type: ignore[arg-type]
    return MeetingResult(ref(number), "owed", error.reason, error=error)


def settled(number: int, state: str = "found") -> MeetingResult:
    """A meeting that needs no further call."""
    return MeetingResult(ref(number), state)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", ["found", "gone", "forbidden", "unfetchable"])
def test_linked_is_when_every_meeting_is_settled(state: str) -> None:
    """However it is settled: the link says why its details are missing."""
    result = outcome(a_claim(), bot=body(ref(0)), fetched=(settled(0, state),))
    assert (result.link_state, result.due_in, result.is_attempt) == ("linked", None, False)


def test_no_meetings_is_a_final_state_and_no_failure() -> None:
    """An ad hoc bot has none."""
    result = outcome(a_claim(), bot=body())
    assert (result.link_state, result.due_in, result.error) == ("no_meetings", None, None)


def test_partial_is_due_again_and_counts_an_attempt() -> None:
    """With the words of the failure."""
    result = outcome(
        a_claim(attempts=2), bot=body(ref(0), ref(1)), fetched=(settled(0), owed(1, Fault.SERVER))
    )
    assert (result.link_state, result.due_in, result.is_attempt) == ("partial", 20, True)
    assert result.error is not None
    assert result.error.startswith("server: ")


def test_what_the_drains_end_cut_is_due_at_once_and_counts_nothing() -> None:
    """Nobody failed."""
    result = outcome(a_claim(), bot=body(ref(0)), fetched=(owed(0, Fault.CUT),))
    assert (result.link_state, result.due_in, result.is_attempt) == ("partial", 0, False)


def test_the_soonest_of_several_waits_decides() -> None:
    """One meeting's long wait does not hold back another."""
    fetched = (owed(0, Fault.RATE_LIMITED, retry_after=60.0), owed(1, Fault.SERVER))
    result = outcome(a_claim(), bot=body(ref(0), ref(1)), fetched=fetched)
    assert result.due_in == 5


def test_a_meeting_is_given_up_after_three_days() -> None:
    """It ends unfetchable with its reason, and the bot is linked."""
    claim = a_claim(owed_seconds=3 * 86_400)
    result = outcome(claim, bot=body(ref(0)), fetched=(owed(0, Fault.TIMEOUT),))
    (meeting,) = result.meetings
    assert (meeting.state, meeting.reason) == ("unfetchable", "timeout")
    assert (result.link_state, result.due_in) == ("linked", None)


def test_a_rate_limit_gives_nothing_up_however_long_it_lasts() -> None:
    """Only failures have an end."""
    claim = a_claim(owed_seconds=9 * 86_400)
    result = outcome(claim, bot=body(ref(0)), fetched=(owed(0, Fault.RATE_LIMITED),))
    assert result.link_state == "partial"


@pytest.mark.parametrize(
    ("fault", "owed_seconds", "state", "due_in"),
    [
        (Fault.SERVER, 0, None, 5),
        (Fault.SERVER, 3 * 86_400, "failed", None),
        (Fault.NOT_FOUND, 599, None, 5),
        (Fault.NOT_FOUND, 600, "failed", None),
        (Fault.REFUSED, 0, "failed", None),
        (Fault.RATE_LIMITED, 9 * 86_400, None, 11),
        (Fault.WORKSPACE, 9 * 86_400, None, 300),
        (Fault.CUT, 0, None, 0),
    ],
)
def test_a_bot_that_cannot_be_fetched(
    fault: Fault, owed_seconds: float, state: str | None, due_in: float | None
) -> None:
    """Its state stays as it was until it is given up."""
    failure = RecallError(fault, Endpoint.BOT, status=404 if fault is Fault.NOT_FOUND else None)
    result = outcome(a_claim(owed_seconds=owed_seconds), failure=failure)
    assert (result.link_state, result.due_in) == (state, due_in)
    assert result.error == str(failure)


def test_items_that_cannot_be_read_make_it_partial_and_say_so() -> None:
    """Complete, or it says why not."""
    result = outcome(a_claim(), bot=body(ref(0), unusable=2), fetched=(settled(0),))
    assert (result.link_state, result.due_in) == ("partial", None)
    assert result.error is not None
    assert result.error.startswith("unusable_meeting: 2 ")


def test_a_meeting_that_left_the_list_is_named() -> None:
    """The settle ends its link, or annotates it when the bot is sealed."""
    known = {MEETINGS[0]: KnownLink(ref(0), "found", is_open=True)}
    result = outcome(a_claim(known=known), bot=body(ref(1)), fetched=(settled(1),))
    assert result.left == (MEETINGS[0],)
    result = outcome(a_claim(known=known, is_fetched=True), fetched=())
    assert result.left == ()


def test_a_sealed_bot_keeps_its_links_when_recall_forgets_them() -> None:
    """A reconnected calendar empties the list; what was recorded stays linked."""
    known = {MEETINGS[0]: KnownLink(ref(0), "found", is_open=True)}
    assert outcome(a_claim(known=known, is_sealed=True), bot=body()).link_state == "linked"
    assert outcome(a_claim(known=known), bot=body()).link_state == "no_meetings"


def test_the_first_settle_after_the_terminal_event_seals() -> None:
    """Not before, and not when the bot could not be fetched."""
    assert not outcome(a_claim(), bot=body()).seals
    assert outcome(a_claim(is_terminal=True), bot=body()).seals
    assert not outcome(a_claim(is_terminal=True, is_sealed=True), bot=body()).seals
    failure = RecallError(Fault.SERVER, Endpoint.BOT)
    assert not outcome(a_claim(is_terminal=True), failure=failure).seals
