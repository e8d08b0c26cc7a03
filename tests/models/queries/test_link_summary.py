"""Every link state has a sentence, and every error a description."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from models.core.humanize import duration
from models.queries.circuit import Circuit
from models.queries.failures.error_messages import describe_error
from models.queries.link_summary import why
from models.queries.rows import BotRow, LinkRow
from models.tables.bot import LinkState
from models.tables.calendar import MeetingState
from tests.support.fakes import BOT, MEETINGS, START
from tests.support.rows import later
from workers.recall_api.errors import Endpoint, Fault, RecallError

NOW = later(3600)


def a_bot(link_state: str, **fields: Any) -> BotRow:
    """A row of the list of bots."""
    given: dict[str, Any] = dict.fromkeys(BotRow.__slots__) | {
        "bot_id": BOT,
        "bot_status": "done",
        "bot_status_at": START,
        "link_state": link_state,
        "attempts": 0,
        "crashes": 0,
        "first_seen_at": START,
    }
    return BotRow(**given | fields)


def a_link(state: str = "found", ended_at: datetime | None = None) -> LinkRow:
    """A row of the list of links."""
    given: dict[str, Any] = dict.fromkeys(LinkRow.__slots__) | {
        "bot_id": BOT,
        "meeting_id": MEETINGS[0],
        "meeting_state": state,
        "ended_at": ended_at,
    }
    return LinkRow(**given)


BUSY = "http_503: bot/{id}"
NOT_FOUND = "bot_not_found: bot/{id}"
SOON = later(3600 + 720)


@pytest.mark.parametrize(
    ("bot", "links", "sentence"),
    [
        (a_bot("pending", due_at=NOW), [],
         "Not linked yet: waiting for the first attempt; the next attempt is due now."),
        (a_bot("pending", bot_status="ready"), [],
         "Not linked yet: a bot that is ready is not looked up."),
        (a_bot("pending", due_at=SOON, last_error=BUSY, attempts=2), [],
         (f"Not linked yet: Recall had an internal error ({BUSY});"
         " the next attempt is in 12 min.")),
        (a_bot("linked"), [a_link()], "Linked to 1 meeting."),
        (a_bot("linked"), [a_link(), a_link()], "Linked to 2 meetings."),
        (a_bot("linked"), [a_link("gone"), a_link("gone"), a_link("forbidden"), a_link()],
         ("Linked to 4 meetings, but without details: 1 is refused by Recall,"
         " 2 are deleted at Recall (404).")),
        (a_bot("linked"), [a_link("unfetchable")],
         "Linked to 1 meeting, but without details: 1 is unavailable from Recall."),
        (a_bot("linked", due_at=NOW), [a_link("owed")],
         ("Linked to 1 meeting, but without details: 1 is not fetched yet;"
          " the next attempt is due now.")),
        (a_bot("linked"), [a_link(), a_link(ended_at=START)],
         "Linked to 1 meeting; 1 earlier link ended."),
        (a_bot("no_meetings"), [],
         "Not linked, and this is final: Recall lists no calendar meeting for this bot."),
        (a_bot("no_meetings"), [a_link(ended_at=START)] * 2,
         ("Not linked, and this is final: Recall lists no calendar meeting for this bot;"
         " 2 earlier links ended.")),
        (a_bot("partial", due_at=SOON, last_error="timeout: calendar/meetings/{id}"),
         [a_link(), a_link("owed")],
         ("Partly linked: 1 of 2 meetings still missing, because Recall did not answer in time"
         " (timeout: calendar/meetings/{id}); the next attempt is in 12 min.")),
        (a_bot("partial", due_at=NOW), [a_link("owed")],
         "Partly linked: 1 of 1 meeting still missing; the next attempt is due now."),
        (a_bot("failed", attempts=3, last_error=NOT_FOUND), [],
         ("Linking failed after 3 attempts; no more retries: Recall does not know this bot; it may"
         f" belong to another region or workspace ({NOT_FOUND}).")),
        (a_bot("failed", attempts=1, last_error="http_400: bot/{id}: no"), [],
         ("Linking failed after 1 attempt; no more retries: Recall refused the request"
         " (http_400: bot/{id}: no).")),
        (a_bot("failed", last_error="crash_loop: 8 workers in a row died linking this bot"), [],
         ("Linking failed; no more retries: every worker that tried it crashed"
         " (crash_loop: 8 workers in a row died linking this bot).")),
        (a_bot("failed"), [], "Linking failed; no more retries: no error was recorded."),
        (a_bot("half_way"), [], "The link is half_way."),
        (a_bot("linked", recorded=True), [a_link()], "Linked to 1 meeting. The bot recorded."),
        (a_bot("linked", recorded=True, recorded_from=START, recorded_until=later(1260)),
         [a_link()], "Linked to 1 meeting. The bot recorded for 21 min."),
        (a_bot("linked", recorded=None, recorded_from=START), [a_link()], "Linked to 1 meeting."),
        (a_bot("linked", recorded=False, ended_sub_code="timeout_exceeded_waiting_room"),
         [a_link()],
         ("Linked to 1 meeting. The bot recorded nothing: it waited in the lobby and was not let"
          " in.")),
        (a_bot("linked", bot_status="fatal", recorded=False, ended_sub_code="meeting_full"),
         [a_link()],
         ("Linked to 1 meeting. The bot failed and recorded nothing: it could not join because the"
          " meeting was full.")),
        (a_bot("pending", due_at=NOW, recorded=False, ended_sub_code="a_new_one"), [],
         ("Not linked yet: waiting for the first attempt; the next attempt is due now."
          " The bot recorded nothing: it ended with a_new_one.")),
    ],
)  # fmt: skip
def test_every_link_state_has_a_sentence(bot: BotRow, links: list[LinkRow], sentence: str) -> None:
    """The state, what is missing, and when the next attempt is."""
    assert why(bot, links, NOW) == sentence


def test_no_link_or_meeting_state_is_left_out() -> None:
    """A new link state needs a sentence, and a new meeting state a description."""
    for state in LinkState.__args__:  # type: ignore[attr-defined]
        assert not why(a_bot(state), [], NOW).startswith("The link is")
    for state in set(MeetingState.__args__) - {"found"}:  # type: ignore[attr-defined]
        assert f"1 is {state}." not in why(a_bot("linked"), [a_link(state)], NOW)


def test_an_open_circuit_is_the_reason() -> None:
    """If the circuit delays a bot, the sentence says so; a later due time is kept."""
    circuit = Circuit(240.0, "http_401")
    assert why(a_bot("pending", due_at=NOW), [], NOW, circuit) == (
        "Not linked yet: waiting for the first attempt; Recall refuses all requests"
        " (http_401), next attempt for any bot in 4 min."
    )
    assert why(a_bot("pending", due_at=SOON), [], NOW, circuit).endswith("is in 12 min.")
    assert why(a_bot("linked"), [a_link()], NOW, circuit) == "Linked to 1 meeting."


@pytest.mark.parametrize("fault", Fault)
def test_every_error_has_a_description(fault: Fault) -> None:
    """Followed by the error as it is stored."""
    by_status = {
        Fault.BUSY: [409, 425], Fault.SERVER: [500, 503], Fault.RATE_LIMITED: [429],
        Fault.WORKSPACE: [401, 402, 403], Fault.TOKEN_REFUSED: [401, 403],
        Fault.NOT_FOUND: [404], Fault.REFUSED: [301, 308, 400, 405, 422],
    }  # fmt: skip
    for endpoint in Endpoint:
        for status in by_status.get(fault, [None]):
            error = str(RecallError(fault, endpoint, status=status))
            assert describe_error(error).endswith(f" ({error})"), error


def test_a_refused_token_and_a_refused_key_are_distinguished() -> None:
    """Both are 401, but the remedies differ."""
    error = str(RecallError(Fault.TOKEN_REFUSED, Endpoint.MEETING, status=401))
    assert describe_error(error).startswith("Recall refuses the calendar user's token")
    error = str(RecallError(Fault.WORKSPACE, Endpoint.BOT, status=401))
    assert describe_error(error).startswith("Recall refuses the API key")


def test_an_unknown_error_is_shown_unchanged() -> None:
    """A newer release may have stored it."""
    assert describe_error("moon_phase: full") == "moon_phase: full"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"),
     (172_800, "2 days"), (timedelta(days=9).total_seconds(), "9 days")],
)  # fmt: skip
def test_a_duration_is_shown_in_one_unit(seconds: float, expected: str) -> None:
    """Rounded to a whole number."""
    assert duration(seconds) == expected
