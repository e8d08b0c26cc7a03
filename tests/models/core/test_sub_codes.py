"""Words for Recall's sub codes: each documented one has some, an unknown one stands for itself."""

import re

import pytest

from models.core.bot_outcome import NOT_ADMITTED
from models.core.sub_codes import WORDS, describe_end, describe_sub_code
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
LOBBY = "timeout_exceeded_waiting_room"
LOBBY_WORDS = "waited in the lobby and was not let in"


def documented() -> set[str]:
    """The sub codes of a bot's statuses in the page's tables."""
    told = PAGE.partition("### `call_ended`")[2].partition("### `transcript.failed`")[0]
    cells = [line.split("|")[1] for line in told.splitlines() if line.startswith("| `")]
    return {code for cell in cells for code in re.findall(r"`(\w+)`", cell)}


def test_the_page_and_the_table_have_the_same_sub_codes() -> None:
    """What is told in a word here is told with its remedy there."""
    assert len(documented()) > 60
    assert documented() == set(WORDS)


@pytest.mark.parametrize("code", WORDS)
def test_words_go_on_where_the_bot_begins(code: str) -> None:
    """A verb first, no full stop, and not the code again."""
    words = describe_sub_code(code)
    assert words is not None
    assert re.match(r"(could not|did not|failed|left|waited|was) ", words)
    assert words[-1].isalnum()
    assert code not in words


def test_a_sub_code_of_next_year_stands_for_itself() -> None:
    """The set is open; none at all says nothing."""
    assert describe_sub_code("abducted_by_aliens") == "ended with abducted_by_aliens"
    assert describe_sub_code(None) is None
    assert describe_sub_code("") is None


def test_a_bot_that_nobody_let_in_is_said_to_have_waited_and_not_to_have_failed() -> None:
    """Whoever kept it out was no error of ours."""
    assert describe_sub_code(LOBBY) == LOBBY_WORDS
    for code in NOT_ADMITTED:
        told = describe_end("done", code, recorded=False)
        assert told is not None
        assert "lobby" in told
        assert "fail" not in told


@pytest.mark.parametrize(
    ("status", "sub_code", "recorded", "told"),
    [
        ("in_call_recording", None, None, None),
        ("done", "call_ended_by_host", True, "the bot recorded"),
        ("fatal", "bot_errored", True, "the bot recorded"),
        ("done", LOBBY, False, f"the bot recorded nothing: it {LOBBY_WORDS}"),
        ("done", None, False, "the bot recorded nothing"),
        ("done", "new", False, "the bot recorded nothing: it ended with new"),
        ("fatal", None, False, "the bot failed and recorded nothing"),
        (
            "fatal",
            "meeting_locked",
            False,
            "the bot failed and recorded nothing: it could not join because the meeting was locked",
        ),
    ],
)
def test_what_came_of_a_bot_is_one_clause(
    status: str, sub_code: str | None, recorded: bool | None, told: str | None
) -> None:
    """Told for what it is: recorded, kept out, failed, or none of these."""
    assert describe_end(status, sub_code, recorded=recorded) == told
