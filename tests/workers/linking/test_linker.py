"""From a bot to its users and meetings: which calls are made, and what follows each failure."""

import time

import httpx
import pytest

from tests.support.fakes import (
    BOT,
    MEETINGS,
    FakeTokens,
    FakeWire,
    OpenLimits,
    Reply,
    a_claim,
    answer,
    bot_body,
    meeting_item,
    ref,
)
from workers.linking.linker import Linker
from workers.linking.types import Claim, KnownLink, LinkResult
from workers.rate_limits.buckets import Buckets
from workers.recall_api.client import Recall
from workers.recall_api.errors import Fault, RecallError
from workers.recall_api.turns import Turns

BOT_PATH = f"bot/{BOT}/"
TOKEN_PATH = "calendar/authenticate/"
MEETING_PATHS = [f"calendar/meetings/{meeting}/" for meeting in MEETINGS]
TOKEN = {"token": "fresh-token"}


def found(number: int) -> Reply:
    """A meeting's answer."""
    return answer({"id": MEETINGS[number], "title": f"Meeting {number}"})


def link(
    replies: dict[str, list[Reply] | Reply],
    claim: Claim | None = None,
    tokens: FakeTokens | None = None,
    limits: OpenLimits | None = None,
    until: float | None = None,
) -> tuple[LinkResult, FakeWire]:
    """Link one bot over a fake wire."""
    wire = FakeWire({TOKEN_PATH: answer(TOKEN)} | replies)
    until = time.monotonic() + 60 if until is None else until
    recall = Recall(wire, "https://recall.test", "the-api-key", until=until)
    turns = Turns(limits or OpenLimits(), longest_wait=3.0)
    linker = Linker(recall, tokens or FakeTokens(), Buckets(), turns)
    return linker.link_bot(claim or a_claim()), wire


def states(result: LinkResult) -> list[tuple[str, str | None]]:
    """The state of each fetched meeting, and the reason."""
    return [(meeting.state, meeting.reason) for meeting in result.fetched]


def test_the_way_is_bot_then_token_then_meeting() -> None:
    """In the order of Recall's FAQ, each with the right credential."""
    result, wire = link({BOT_PATH: answer(bot_body(meeting_item(0))), MEETING_PATHS[0]: found(0)})
    (get, ask, fetch) = wire.sent
    assert wire.paths == [BOT_PATH, TOKEN_PATH, MEETING_PATHS[0]]
    assert get[2] == {"authorization": "Token the-api-key"}
    assert ask[3] == {"user_id": "crew-0"}
    assert fetch[2] == {"x-recallcalendarauthtoken": "fresh-token"}
    assert states(result) == [("found", None)]
    assert [call.path for call in result.calls] == [
        "bot/{id}",
        "calendar/authenticate",
        "calendar/meetings/{id}",
    ]


def test_one_token_serves_all_meetings_of_a_user() -> None:
    """A token costs a call only the first time."""
    items = [meeting_item(0, "same"), meeting_item(1, "same")]
    replies = {MEETING_PATHS[0]: found(0), MEETING_PATHS[1]: found(1)}
    _, wire = link({BOT_PATH: answer(bot_body(*items)), **replies})
    assert wire.paths.count(TOKEN_PATH) == 1


def test_a_bot_without_meetings_costs_one_call() -> None:
    """And its result says so."""
    result, wire = link({BOT_PATH: answer(bot_body())})
    assert wire.paths == [BOT_PATH]
    assert (result.failure, result.fetched, result.kept) == (None, (), ())


def test_a_known_meeting_that_has_not_moved_is_not_fetched_again() -> None:
    """Only what is new, moved or owed costs a call."""
    known = {
        MEETINGS[0]: KnownLink(ref(0), "found", is_open=True),
        MEETINGS[1]: KnownLink(ref(1, minutes=15), "found", is_open=True),
        MEETINGS[2]: KnownLink(ref(2), "owed", is_open=True),
    }
    items = [meeting_item(n) for n in range(4)]
    replies = {path: found(n) for n, path in enumerate(MEETING_PATHS)}
    result, wire = link({BOT_PATH: answer(bot_body(*items)), **replies}, a_claim(known=known))
    assert result.kept == (ref(0),)
    assert [path for path in wire.paths if "meetings" in path] == MEETING_PATHS[1:]


def test_a_retry_for_the_same_reason_reuses_the_stored_list() -> None:
    """The bot was already fetched: only owed meetings are requested."""
    known = {
        MEETINGS[0]: KnownLink(ref(0), "found", is_open=True),
        MEETINGS[1]: KnownLink(ref(1), "owed", is_open=True),
        MEETINGS[2]: KnownLink(ref(2), "owed", is_open=False),
    }
    result, wire = link({MEETING_PATHS[1]: found(1)}, a_claim(known=known, is_fetched=True))
    assert wire.paths == [TOKEN_PATH, MEETING_PATHS[1]]
    assert result.bot is None
    assert states(result) == [("found", None)]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_renewed_once(status: int) -> None:
    """The cached one is deleted, and a new one is requested and used."""
    tokens = FakeTokens(crew_0="stale-token")
    replies: dict[str, list[Reply] | Reply] = {
        BOT_PATH: answer(bot_body(meeting_item(0))),
        MEETING_PATHS[0]: [answer({"detail": "no"}, status), found(0)],
    }
    result, wire = link(replies, tokens=tokens)
    assert states(result) == [("found", None)]
    assert tokens.cached == {"crew-0": "fresh-token"}
    assert wire.paths == [BOT_PATH, MEETING_PATHS[0], TOKEN_PATH, MEETING_PATHS[0]]


def test_a_token_refused_twice_makes_the_meeting_forbidden() -> None:
    """There is no third try."""
    replies: dict[str, list[Reply] | Reply] = {
        BOT_PATH: answer(bot_body(meeting_item(0))),
        MEETING_PATHS[0]: answer({"detail": "no"}, 401),
    }
    result, wire = link(replies)
    assert states(result) == [("forbidden", "http_401")]
    assert wire.paths.count(TOKEN_PATH) == 2


@pytest.mark.parametrize(
    ("reply", "state", "reason"),
    [
        (answer({"detail": "Not found."}, 404), "gone", "http_404"),
        (answer("no", 400), "unfetchable", "http_400"),
        (answer("", 302, location="https://elsewhere.test"), "unfetchable", "http_302"),
        (answer({"id": BOT}), "unfetchable", "wrong_body"),
        (answer([]), "owed", "unreadable"),
        (answer("", 503), "owed", "http_503"),
        (httpx.ReadTimeout("slow"), "owed", "timeout"),
        (httpx.ConnectError("refused"), "owed", "network"),
    ],
)
def test_a_meetings_failure_ends_or_owes_that_meeting_alone(
    reply: Reply, state: str, reason: str
) -> None:
    """The other meeting is linked all the same."""
    items = [meeting_item(0), meeting_item(1)]
    replies: dict[str, list[Reply] | Reply] = {
        BOT_PATH: answer(bot_body(*items)),
        MEETING_PATHS[0]: reply,
        MEETING_PATHS[1]: found(1),
    }
    result, _ = link(replies)
    assert states(result) == [(state, reason), ("found", None)]


@pytest.mark.parametrize("external_id", ["", "a\x00b", "x" * 256])
def test_no_token_is_requested_for_an_id_we_would_alter(external_id: str) -> None:
    """A token request creates the user."""
    item = meeting_item(0, external_id)
    result, wire = link({BOT_PATH: answer(bot_body(item))})
    assert wire.paths == [BOT_PATH]
    assert states(result) == [("unfetchable", "unusable_external_id")]


def test_a_meeting_without_an_external_id_is_linked_without_details() -> None:
    """The link is kept; nothing is requested."""
    item = meeting_item(0) | {"calendar_user": None}
    result, wire = link({BOT_PATH: answer(bot_body(item))})
    assert (wire.paths, states(result)) == ([BOT_PATH], [("unfetchable", "no_external_id")])


def test_no_token_is_requested_for_an_erased_user() -> None:
    """A late webhook must not create them again."""
    tokens = FakeTokens()
    tokens.erased.add("crew-0")
    result, wire = link({BOT_PATH: answer(bot_body(meeting_item(0)))}, tokens=tokens)
    assert (wire.paths, states(result)) == ([BOT_PATH], [("unfetchable", "user_erased")])


def test_a_429_closes_the_bucket_it_concerns() -> None:
    """At once, for every worker; the meeting is owed."""
    limits = OpenLimits()
    limited = answer({}, 429, **{"retry-after": "7"})
    replies: dict[str, list[Reply] | Reply] = {
        BOT_PATH: answer(bot_body(meeting_item(0))),
        MEETING_PATHS[0]: limited,
    }
    result, _ = link(replies, limits=limits)
    assert (limits.closed, states(result)) == (["user"], [("owed", "http_429")])
    result, _ = link({BOT_PATH: limited}, limits=limits)
    assert limits.closed == ["user", "bot_get"]
    assert result.failure is not None
    assert result.failure.retry_after == 7


def test_a_refused_workspace_is_not_asked_once_per_meeting() -> None:
    """A firewall's 403 would be the answer to all further calls too."""
    wall = answer("<html>403</html>", 403, **{"content-type": "text/html"})
    items = [meeting_item(n, "same") for n in range(3)]
    replies: dict[str, list[Reply] | Reply] = {
        BOT_PATH: answer(bot_body(*items)),
        MEETING_PATHS[0]: wall,
    }
    result, wire = link(replies)
    assert wire.paths == [BOT_PATH, TOKEN_PATH, MEETING_PATHS[0]]
    assert {meeting.state for meeting in result.fetched} == {"owed"}


def test_a_turn_that_is_far_away_leaves_the_meeting_owed() -> None:
    """Waiting for a limit is no failure."""
    limits = OpenLimits(held="user")
    result, wire = link({BOT_PATH: answer(bot_body(meeting_item(0)))}, limits=limits)
    assert MEETING_PATHS[0] not in wire.paths
    assert states(result) == [("owed", "held")]


def test_a_failed_token_request_is_reported_so_that_others_may_try() -> None:
    """Otherwise a waiting thread would wait for ever."""

    class Noting(FakeTokens):
        handed: list[str | None]

        def put(self, external_id: str, token: str | None) -> None:
            self.handed = [token]

    tokens = Noting()
    replies: dict[str, list[Reply] | Reply] = {
        BOT_PATH: answer(bot_body(meeting_item(0))),
        TOKEN_PATH: answer("", 503),
    }
    link(replies, tokens=tokens)
    assert tokens.handed == [None]


def test_after_the_drains_end_no_call_is_made() -> None:
    """The rest is cut, which is no attempt."""
    result, wire = link({BOT_PATH: answer(bot_body())}, until=time.monotonic() - 1)
    assert wire.paths == []
    assert result.failure is not None
    assert result.failure.fault is Fault.CUT


def test_an_id_from_outside_never_changes_the_path() -> None:
    """Percent-encoded, whatever it holds."""
    odd = "../../admin?x=1#y"
    wire = FakeWire({"bot/%2E%2E%2F%2E%2E%2Fadmin%3Fx%3D1%23y/": answer("", 404)})
    recall = Recall(wire, "https://recall.test", "key", until=time.monotonic() + 9)
    with pytest.raises(RecallError):
        recall.bot(odd)
    assert len(wire.sent) == 1


@pytest.mark.parametrize("has_turn", [True, False])
def test_a_bots_own_turn_is_taken_once(has_turn: bool) -> None:
    """With the claim, or here if that turn is too old."""
    wire, limits = FakeWire({BOT_PATH: answer(bot_body())}), OpenLimits()
    recall = Recall(wire, "https://recall.test", "the-api-key")
    linker = Linker(recall, FakeTokens(), Buckets(), Turns(limits), has_turn=has_turn)
    assert linker.link_bot(a_claim()).failure is None
    assert limits.taken == ([] if has_turn else ["bot_get"])
