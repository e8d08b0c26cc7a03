"""One plain sentence for each way a bot's link can stand, and for each error there is."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from models.core.humanize import duration
from models.queries.circuit import Circuit
from models.queries.error_messages import describe_error
from models.queries.link_summary import why
from models.queries.rows import BotRow, LinkRow
from models.tables.bot import LinkState
from models.tables.calendar import MeetingState
from tests.support.fakes import BOT, MEETINGS, START
from tests.support.rows import later
from workers.recall_api.errors import Endpoint, Fault, RecallError

NOW = later(3600)


def a_bot(link_state: str, **fields: Any) -> BotRow:
    """A bot's row."""
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
    """A link's row."""
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
    ],
)  # fmt: skip
def test_every_link_state_has_its_sentence(
    bot: BotRow, links: list[LinkRow], sentence: str
) -> None:
    """What stands, what is missing, and when the next try is."""
    assert why(bot, links, NOW) == sentence


def test_no_link_state_is_left_out() -> None:
    """A new one in the model needs a sentence, and a new meeting state its words."""
    for state in LinkState.__args__:  # type: ignore[attr-defined]
        assert not why(a_bot(state), [], NOW).startswith("The link is")
    for state in set(MeetingState.__args__) - {"found"}:  # type: ignore[attr-defined]
        assert f"1 is {state}." not in why(a_bot("linked"), [a_link(state)], NOW)


def test_a_refused_workspace_is_the_reason() -> None:
    """Nobody looks at one bot for what holds up all of them; a later time of its own stands."""
    circuit = Circuit(240.0, "http_401")
    assert why(a_bot("pending", due_at=NOW), [], NOW, circuit) == (
        "Not linked yet: waiting for the first attempt; Recall refuses all requests"
        " (http_401), next attempt for any bot in 4 min."
    )
    assert why(a_bot("pending", due_at=SOON), [], NOW, circuit).endswith("is in 12 min.")
    assert why(a_bot("linked"), [a_link()], NOW, circuit) == "Linked to 1 meeting."


@pytest.mark.parametrize("fault", Fault)
def test_every_error_has_words_for_people(fault: Fault) -> None:
    """Beside the machine's own, which is what one searches for."""
    by_status = {
        Fault.BUSY: [409, 425], Fault.SERVER: [500, 503], Fault.RATE_LIMITED: [429],
        Fault.WORKSPACE: [401, 402, 403], Fault.TOKEN_REFUSED: [401, 403],
        Fault.NOT_FOUND: [404], Fault.REFUSED: [301, 308, 400, 405, 422],
    }  # fmt: skip
    for endpoint in Endpoint:
        for status in by_status.get(fault, [None]):
            error = str(RecallError(fault, endpoint, status=status))
            assert describe_error(error).endswith(f" ({error})"), error


def test_a_refused_token_is_not_taken_for_a_refused_key() -> None:
    """Both are 401; what to do about them differs."""
    error = str(RecallError(Fault.TOKEN_REFUSED, Endpoint.MEETING, status=401))
    assert describe_error(error).startswith("Recall refuses the calendar user's token")
    error = str(RecallError(Fault.WORKSPACE, Endpoint.BOT, status=401))
    assert describe_error(error).startswith("Recall refuses the API key")


def test_an_error_nobody_foresaw_stands_for_itself() -> None:
    """Better than nothing."""
    assert describe_error("moon_phase: full") == "moon_phase: full"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"),
     (172_800, "2 days"), (timedelta(days=9).total_seconds(), "9 days")],
)  # fmt: skip
def test_a_length_of_time_is_said_in_one_unit(seconds: float, words: str) -> None:
    """As people say it."""
    assert duration(seconds) == words
