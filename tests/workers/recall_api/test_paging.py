"""Recall's lists: read to their end or not at all, from no other host, and never endlessly."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, select

from models.tables.reconcile_run import ReconcileRun
from tests.conftest import API_KEY
from tests.lab.faults.faults import Fault as Scripted
from tests.lab.recall import FakeRecall
from tests.support.cli import Tell, teller, told
from tests.support.fakes import BOT, MEETINGS, FakeWire, answer, bot_body
from workers.rate_limits.buckets import Buckets, LocalLimits, SteadyLimits
from workers.recall_api.bot_list import read_bot_page
from workers.recall_api.calendar_client import CalendarClient, UserToken
from workers.recall_api.calendar_schemas import read_user
from workers.recall_api.client import Recall
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.paging import MOST_STALE
from workers.recall_api.schemas import read_bot, read_meeting
from workers.recall_api.transport import HttpClient, make_ssl_context

BASE = "https://us-east-1.recall.ai"
TOKEN = UserToken("ines", "token")
SINCE = ("reconcile", "--since", "2026-01-01T00:00:00Z")

# Each list, and the path of its first page.
LISTS: dict[str, tuple[str, Callable[[CalendarClient], tuple[Any, ...]]]] = {
    "users": ("calendar/users/", lambda client: client.users()),
    "users by address": (
        "calendar/users/?email=a%40b.example",
        lambda client: client.users("a@b.example"),
    ),
    "meetings": ("calendar/meetings/", lambda client: client.meetings(TOKEN)),
    "meetings by uid": (
        "calendar/meetings/?ical_uid=u",
        lambda client: client.meetings(TOKEN, ical_uid="u"),
    ),
}
# What a `next` of another list, or of none, may look like.
ASTRAY: list[object] = [
    "http://[",
    "https://[::1",
    "https://us-east-1.recall.ai:99999/api/v1/{}?page=2",
    "https://us-east-1.recall.ai:x/api/v1/{}?page=2",
    "http://us-east-1.recall.ai/api/v1/{}?page=2",
    "https://us-east-1.recall.ai:8443/api/v1/{}?page=2",
    "https://us-east-1.recall.ai.evil.example/api/v1/{}?page=2",
    "https://us-east-1.recall.ai@evil.example/api/v1/{}?page=2",
    "https://me:hunter2@us-east-1.recall.ai/api/v1/{}?page=2",
    "https://us-east-1.recall.ai/api/v1/bot/x/?page=2",
    "https://us-east-1.recall.ai/api/v1/{}../bot/?page=2",
    "https://us-east-1.recall.ai/api/v2/{}?page=2",
    "https://us-east-1.recall.ai/{}?page=2",
    "//us-east-1.recall.ai/api/v1/{}?page=2",
    "/api/v1/{}?page=2",
    "?page=2",
    "page=2",
    "https://us-east-1.recall.ai/api/v1/{}?page=2\x00",
    "https://us-east-1.recall.ai/api/v1/{}?page=2\ud800",
    "https://us-east-1.recall.ai/api/v1/{}?page=\u0662",
    "https://us-east-1.recall.ai/api/v1/{}?page=2 HTTP/1.1",
    "https://us-east-1.recall.ai/api/v1/{}?cursor=" + "x" * 5000,
    7,
    0,
    True,
    False,
    [],
    ["https://us-east-1.recall.ai/api/v1/{}?page=2"],
    {"url": "https://us-east-1.recall.ai/api/v1/{}?page=2"},
]


def item(number: int) -> dict[str, Any]:
    """A user, a meeting or a bot: of each only the id is needed."""
    return {"id": f"00000000-0000-4000-8000-{number:012}"}


def client_of(wire: Any, **others: Any) -> CalendarClient:
    """A client whose turns have no limits."""
    limits = SteadyLimits(None, LocalLimits(share=100_000.0))
    return CalendarClient(Recall(wire, BASE, API_KEY), limits, Buckets(1000.0), **others)


def replies(path: str, *pages: dict[str, Any]) -> FakeWire:
    """A wire that answers these pages of the list at `path`, each but the last with a next one."""
    folder, _, query = path.partition("?")
    paths = [path, *(f"{folder}?{query and query + '&'}page={n}" for n in range(2, len(pages) + 1))]
    follow = [f"{BASE}/api/v1/{later}" for later in paths[1:]]
    nexts: list[dict[str, str]] = [*({"next": url} for url in follow), {}]
    bodies = [page | following for page, following in zip(pages, nexts, strict=True)]
    return FakeWire({p: answer(body) for p, body in zip(paths, bodies, strict=True)})


@pytest.mark.parametrize("name", LISTS)
def test_every_page_of_a_list_is_read(name: str) -> None:
    """Repeats, of pages that shift, are one item."""
    path, ask = LISTS[name]
    wire = replies(
        path,
        {"count": 4, "results": [item(1), item(2)]},
        {"count": 4, "results": [item(2), item(3)]},
        {"count": 4, "results": [item(4)], "next": None},
    )
    assert [one.id for one in ask(client_of(wire))] == [item(n)["id"] for n in (1, 2, 3, 4)]
    assert len(wire.sent) == 3


@pytest.mark.parametrize("name", LISTS)
def test_a_plain_array_is_whole(name: str) -> None:
    """It is what the documentation shows of these lists."""
    path, ask = LISTS[name]
    assert len(ask(client_of(FakeWire({path: answer([item(1), item(2)])})))) == 2


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("next_page", ASTRAY)
def test_a_next_page_of_another_list_is_refused(name: str, next_page: object) -> None:
    """With a reason that can be stored; no second call is made, and nothing is taken for all."""
    path, ask = LISTS[name]
    folder = path.partition("?")[0]
    given = next_page.format(folder) if isinstance(next_page, str) else next_page
    wire = FakeWire({path: answer({"results": [item(1)], "next": given})})
    with pytest.raises(RecallError, match="foreign_next") as caught:
        ask(client_of(wire))
    assert caught.value.fault is Fault.WRONG_BODY
    assert len(wire.sent) == 1
    str(caught.value).encode()
    assert "\x00" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("next_page", ASTRAY)
def test_a_next_page_of_another_list_than_bots_is_refused(next_page: object) -> None:
    """The same for List Bots."""
    given = next_page.format("bot/") if isinstance(next_page, str) else next_page
    page = json.dumps({"results": [item(1)], "next": given}).encode()
    with pytest.raises(RecallError, match="foreign_next"):
        read_bot_page(page, BASE, datetime.now(UTC))


@pytest.mark.parametrize("name", LISTS)
def test_a_page_that_was_read_before_ends_the_list(name: str) -> None:
    """The first one, or one of two that name each other."""
    path, ask = LISTS[name]
    url = f"{BASE}/api/v1/{path if '?' in path else path + '?page=1'}"
    wire = FakeWire(
        {p: answer({"results": [item(1)], "next": url}) for p in (path, url.partition("/v1/")[2])}
    )
    with pytest.raises(RecallError, match="repeated_next"):
        ask(client_of(wire))
    assert len(wire.sent) <= 2


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("results", [[], [item(1)]])
def test_pages_without_end_that_tell_nothing_new_end_the_list(
    name: str, results: list[dict[str, Any]]
) -> None:
    """Each has another URL, so reading them would never end."""
    path, ask = LISTS[name]
    wire = replies(path, *[{"results": results}] * 50)
    with pytest.raises(RecallError, match="endless_list"):
        ask(client_of(wire))
    assert len(wire.sent) <= MOST_STALE + 1


@pytest.mark.parametrize("name", LISTS)
def test_fewer_than_recall_counts_are_not_taken_for_all(name: str) -> None:
    """A page that is missing in the middle, or a single one that says there are more."""
    path, ask = LISTS[name]
    for pages in (
        [{"count": 3, "results": [item(1)], "next": None}],
        [{"count": 3, "results": [item(1)]}, {"count": 3, "results": [item(1)], "next": None}],
    ):
        with pytest.raises(RecallError, match="came with") as caught:
            ask(client_of(replies(path, *pages)))
        assert caught.value.fault is Fault.UNREADABLE


@pytest.mark.parametrize("name", LISTS)
def test_a_page_that_cannot_be_had_is_the_lists_failure(name: str) -> None:
    """The pages before it are not used."""
    path, ask = LISTS[name]
    later = f"{path.partition('?')[0]}?page=2"
    first = answer({"results": [item(1)], "next": f"{BASE}/api/v1/{later}"})
    wire = FakeWire({path: first, later: answer(status=503)})
    with pytest.raises(RecallError, match="http_503"):
        ask(client_of(wire))


@pytest.mark.parametrize("name", LISTS)
def test_a_list_has_a_deadline(name: str) -> None:
    """No page is begun after it."""
    path, ask = LISTS[name]
    wire = replies(path, {"results": [item(1)]}, {"results": [item(2)]})
    with pytest.raises(RecallError) as caught:
        ask(client_of(wire, list_seconds=0.0))
    assert caught.value.fault is Fault.TIMEOUT
    assert wire.sent == []


def test_a_refresh_is_asked_once_and_refused_in_part() -> None:
    """A second page would be a second refresh."""
    path = "calendar/meetings/refresh/"
    whole = FakeWire({path: answer({"results": [item(1)], "next": None})})
    assert len(client_of(whole).refresh(TOKEN)) == 1
    part = replies(path, {"results": [item(1)]}, {"results": [item(2)]})
    with pytest.raises(RecallError, match="endless_list"):
        client_of(part).refresh(TOKEN)
    assert len(part.sent) == 1


PART = {"results": [], "next": f"{BASE}/api/v1/more/?page=2"}
WITHIN: dict[str, Callable[[object], object]] = {
    "calendar_meetings": lambda part: read_bot(bot_body() | {"calendar_meetings": part}, BOT),
    "attendees": lambda part: read_meeting({"id": MEETINGS[0], "attendees": part}, MEETINGS[0]),
    "attendee_emails": lambda part: read_meeting(
        {"id": MEETINGS[0], "attendee_emails": part}, MEETINGS[0]
    ),
    "connections": lambda part: read_user({"id": BOT, "connections": part}, Endpoint.USER),
}


@pytest.mark.parametrize("key", WITHIN)
def test_a_list_within_a_body_is_whole_or_unreadable(key: str) -> None:
    """Its next page has no address."""
    with pytest.raises(RecallError, match=f"{key} came in part") as caught:
        WITHIN[key](PART)
    assert caught.value.fault is Fault.UNREADABLE
    assert WITHIN[key]({"results": [], "next": None}) == WITHIN[key]([])


def test_a_bot_whose_statuses_came_in_part_is_not_used() -> None:
    """It is counted among the strange ones, and the others of its page are read."""
    items = [{**item(1), "status_changes": PART}, {**item(2), "status_changes": []}]
    page = read_bot_page(json.dumps({"results": items}).encode(), BASE, datetime.now(UTC))
    assert ([bot.id for bot in page.bots], page.unusable) == ([item(2)["id"]], 1)


@pytest.fixture
def paged() -> Iterator[FakeRecall]:
    """A fake Recall that lists everything in small pages."""
    with FakeRecall(limits=False, page_size=2) as recall:
        recall.world.list_page_size = 2
        yield recall


def test_the_fakes_pages_are_followed_over_http(paged: FakeRecall) -> None:
    """All of a workspace's users, all of a user's meetings."""
    users = [paged.build.user() for _ in range(5)]
    meetings = [paged.build.meeting(users[0]) for _ in range(5)]
    wire = HttpClient(make_ssl_context())
    recall = Recall(wire, paged.url, paged.api_key)
    client = CalendarClient(recall, SteadyLimits(None, LocalLimits(share=100.0)), Buckets(1000.0))
    assert {user.id for user in client.users()} == {user.id for user in users}
    token = client.authenticate(users[0].external_id or "")
    assert {meeting.id for meeting in client.meetings(token)} == {one.id for one in meetings}
    assert client.users("nobody@home.example") == ()
    wire.close()


@pytest.fixture
def tell(database_url: str, paged: FakeRecall) -> Tell:
    """The command line."""
    return teller(database_url, paged)


@pytest.mark.parametrize("next_page", ["http://[", "\ud800", 7, "here", "endless"])
def test_a_reconcile_that_is_led_astray_ends_and_is_free_at_once(
    engine: Engine, paged: FakeRecall, tell: Tell, next_page: object
) -> None:
    """Exit code 3 and the reason; the next one is kept from nothing, and few calls were made."""
    paged.build.populate(5)
    page = iter(range(2, 1000))

    def mislead(body: Any) -> Any:
        here = f"{paged.url}/api/v1/bot/?page="
        known = {"here": f"{here}1", "endless": f"{here}1&again={next(page)}"}
        return body | {"next": known.get(str(next_page), next_page)}

    with paged.faults.during(Scripted(act="transform", path="bot", transform=mislead)):
        cut = tell(*SINCE)
    assert cut.exit_code == 3
    assert "_next" in cut.stderr or "endless_list" in cut.stderr
    assert len(paged.calls.all("bot")) <= MOST_STALE + 3
    with engine.connect() as connection:
        assert connection.scalar(select(ReconcileRun.error))
    again = tell("reconcile", "--json")
    assert "resuming run" in again.stderr
    assert told(again)["bots_seen"] == 5


def test_a_reconcile_that_breaks_is_free_at_once(
    engine: Engine, paged: FakeRecall, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks it: a traceback must not keep the next one away."""
    paged.build.populate(3)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setattr("workers.recall_api.bot_list.read_bot_page", broken)
        with pytest.raises(RuntimeError):
            tell(*SINCE)
    assert told(tell("reconcile", "--json"))["bots_seen"] == 3
