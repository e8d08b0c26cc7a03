"""The fake answers as the contract of Recall's API says."""

from collections.abc import Iterator, Mapping

import pytest

from tests.lab.asking import Asking, asking
from tests.lab.recall import FakeRecall
from tests.lab.world.clock import ManualClock
from tests.lab.world.shapes import Bot

BOT_FIELDS = {"id", "meeting_url", "status_changes", "recordings", "calendar_meetings"}
STRANGE_ID = "5d0c6f9e-77aa-4b6e-9d26-0c6ad2b3a001"


@pytest.fixture
def clock() -> ManualClock:
    """Time stands still until a test moves it."""
    return ManualClock()


@pytest.fixture
def ask(clock: ManualClock) -> Iterator[Asking]:
    """Yield a client of a fresh fake."""
    with FakeRecall(seed=5, clock=clock, page_size=3) as recall, asking(recall) as client:
        yield client


def test_a_bot_has_every_required_field(ask: Asking) -> None:
    """Retrieve Bot fills what the schema requires and points at its meetings."""
    user = ask.recall.build.user("ines@lab")
    meeting = ask.recall.build.meeting(user, meeting_platform="google_meet")
    bot = ask.recall.build.bot([meeting])
    body = ask.get(f"bot/{bot.id}/").json()
    assert BOT_FIELDS | {"bot_name", "join_at", "metadata"} <= set(body)
    assert body["meeting_url"]["platform"] == "google_meet"
    assert body["join_at"] is None
    (reference,) = body["calendar_meetings"]
    assert set(reference) == {"id", "start_time", "end_time", "calendar_user"}
    assert reference["calendar_user"] == {"id": user.id, "external_id": "ines@lab"}


def test_status_changes_carry_nulls(ask: Asking) -> None:
    """Message and sub_code are null where there is nothing to say, not missing."""
    bot = ask.recall.build.bot()
    changes = ask.get(f"bot/{bot.id}/").json()["status_changes"]
    assert all(set(change) == {"code", "message", "created_at", "sub_code"} for change in changes)
    assert changes[0]["code"] == "ready"
    assert changes[0]["sub_code"] is None


def test_a_scheduled_bot_shows_when_it_joins_and_an_ad_hoc_one_has_no_meetings(ask: Asking) -> None:
    """join_at is readable until the bot has joined; API-made bots have an empty list."""
    body = ask.get(f"bot/{ask.recall.build.bot(outcome=None).id}/").json()
    assert body["join_at"].endswith("Z")
    assert body["calendar_meetings"] == body["recordings"] == []


@pytest.mark.parametrize("header", ["Token {}", "{}"])
def test_the_api_key_works_with_and_without_its_scheme(ask: Asking, header: str) -> None:
    """Authorization may carry the bare key, as newer pages show."""
    headers = {"Authorization": header.format(ask.recall.api_key)}
    assert ask.call("GET", "bot/", headers).status_code == 200


@pytest.mark.parametrize("key", [None, "Token nonsense", "Bearer x", "Token"])
def test_a_wrong_key_is_401_with_code_and_detail(ask: Asking, key: str | None) -> None:
    """Every failure of the key looks like the one of a wrong region."""
    answer = ask.call("GET", "bot/", {"Authorization": key} if key else None)
    assert answer.status_code == 401
    assert set(answer.json()) == {"code", "detail"}


def test_an_api_key_does_not_open_a_calendar(ask: Asking) -> None:
    """Calendar endpoints want the calendar token, and the token opens nothing else."""
    user = ask.recall.build.user()
    assert ask.get("calendar/user/").status_code == 401
    token = ask.token(user.external_id or "")
    assert ask.as_user(token, "GET", "bot/").status_code == 401


@pytest.mark.parametrize("path", [f"bot/{STRANGE_ID}/", "bot/x/y/z/", "nothing/", "bot/"])
def test_unknown_things_are_404_and_wrong_methods_405(ask: Asking, path: str) -> None:
    """Both answer as Django REST framework does."""
    assert ask.get(f"{path}more" if path == "bot/" else path).json() == {"detail": "Not found."}
    answer = ask.post("bot/")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


def test_a_trailing_slash_makes_no_difference(ask: Asking) -> None:
    """Both spellings answer, without a redirect."""
    bot = ask.recall.build.bot()
    user = ask.recall.build.user()
    token = ask.token(user.external_id or "")
    assert ask.get(f"bot/{bot.id}").json() == ask.get(f"bot/{bot.id}/").json()
    assert ask.as_user(token, "POST", "calendar/meetings/refresh").status_code == 200


def test_a_body_on_a_get_meets_the_firewall(ask: Asking) -> None:
    """The firewall answers 403 in HTML, even to a null."""
    answer = ask.get("bot/", content=b"null")
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")


def test_the_bot_list_pages_with_absolute_links(ask: Asking) -> None:
    """Following `next` meets every bot once, newest first."""
    bots = [ask.recall.build.bot() for _ in range(7)]
    seen: list[str] = []
    url: str | None = f"{ask.recall.url}/api/v1/bot/?status=done"
    while url:
        page = ask.http.get(url, headers={"Authorization": ask.recall.api_key}).json()
        assert page["count"] == 7
        seen += [bot["id"] for bot in page["results"]]
        url = page["next"]
        assert url is None or url.startswith(ask.recall.url)
    assert seen == [bot.id for bot in reversed(bots)]
    assert ask.get("bot/?page=4").status_code == 404


def test_the_bot_list_filters(ask: Asking) -> None:
    """Every documented filter keeps the bots it should, and all must hold."""
    first, second = ask.recall.build.bot(), ask.recall.build.bot(outcome="fatal")
    ask.recall.world.bots[first.id].metadata = {"team": "a", "tier": "1"}
    second.meeting_url = {"platform": "zoom", "meeting_id": "1", "meeting_password": None}
    assert _ids(ask, {"status": ["fatal", "ready"]}) == {second.id}
    assert _ids(ask, {"platform": ["zoom", "webex"]}) == {second.id}
    assert _ids(ask, {"metadata__team": "a", "metadata__tier": "1"}) == {first.id}
    assert _ids(ask, {"metadata__team": "a", "metadata__tier": "2"}) == set()
    assert _ids(ask, {"meeting_url": first.meeting_link or ""}) == {first.id}
    assert _ids(ask, {"join_at_after": _time(second)}) >= {second.id}
    assert _ids(ask, {"join_at_before": "2001-01-01T00:00:00Z"}) == set()


@pytest.mark.parametrize("query", ["status=asleep", "join_at_after=noon", "page=0", "page=x"])
def test_a_bad_filter_is_refused(ask: Asking, query: str) -> None:
    """Unknown statuses and times are 400, impossible pages 404."""
    assert ask.get(f"bot/?{query}").status_code == (404 if "page" in query else 400)


def _ids(ask: Asking, query: Mapping[str, str | list[str]]) -> set[str]:
    return {bot["id"] for bot in ask.get("bot/", params=query).json()["results"]}


def _time(bot: Bot) -> str:
    return bot.join_at.isoformat() if bot.join_at else ""
