"""The client against a Recall that misbehaves in every way a server can."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tests.lab.faults.faults import Fault as Scripted
from tests.lab.recall import FakeRecall
from tests.lab.sender.receiver import Receiver
from tests.lab.world.shapes import Bot
from workers.recall_api.client import Recall, parse_retry_after
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.transport import HttpClient, make_ssl_context

BOT_PATH = "bot/{id}"


@pytest.fixture
def fake() -> Iterator[FakeRecall]:
    """A fake Recall."""
    with FakeRecall() as fake:
        yield fake


@pytest.fixture
def wire() -> Iterator[HttpClient]:
    """A connection to it."""
    wire = HttpClient(make_ssl_context())
    yield wire
    wire.close()


def client(fake: FakeRecall, wire: HttpClient, seconds: float = 60) -> Recall:
    """A client whose drain ends in so many seconds."""
    return Recall(wire, fake.url, fake.api_key, until=time.monotonic() + seconds)


def a_bot(fake: FakeRecall) -> Bot:
    """A bot of one user's meeting."""
    return fake.build.bot([fake.build.meeting(fake.build.user())])


def failure(fake: FakeRecall, wire: HttpClient, seconds: float = 60, **fault: Any) -> RecallError:
    """The fault that a scripted error on the bot's endpoint causes."""
    bot = a_bot(fake)
    with fake.faults.during(Scripted(**fault)), pytest.raises(RecallError) as caught:
        client(fake, wire, seconds).bot(bot.id)
    return caught.value


def test_the_three_calls_of_a_link_over_one_connection(fake: FakeRecall, wire: HttpClient) -> None:
    """With the key on the first two, the token on the third, and never both."""
    bot = a_bot(fake)
    recall = client(fake, wire)
    (ref,) = recall.bot(bot.id).meetings
    assert ref.external_id is not None
    token = recall.authenticate(ref.external_id)
    assert recall.meeting(ref.meeting_id, token).title
    calls = fake.calls.all()
    assert [(c.has_authorization, c.has_calendar_token) for c in calls] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert len({call.port for call in calls}) == 1
    assert [call.status for call in recall.calls] == [200, 200, 200]


def test_the_journal_holds_no_secret(fake: FakeRecall, wire: HttpClient) -> None:
    """Method, path template, meeting id, status, milliseconds, and the error's name."""
    bot = a_bot(fake)
    recall = client(fake, wire)
    token = recall.authenticate("somebody@example.com")
    with pytest.raises(RecallError):
        recall.meeting(bot.calendar_meetings[0].id, token)
    kept = [call.as_json() for call in recall.calls]
    assert [sorted(call) for call in kept] == [
        ["about", "error", "method", "ms", "path", "status"]
    ] * 2
    assert kept[1]["error"] == "http_404"
    for secret in (token, fake.api_key, "somebody"):
        assert secret not in str(kept)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 500}, Fault.SERVER),
        ({"status": 502}, Fault.SERVER),
        ({"status": 507}, Fault.SERVER),
        ({"status": 409}, Fault.BUSY),
        ({"status": 425}, Fault.BUSY),
        ({"status": 408}, Fault.TIMEOUT),
        ({"status": 401}, Fault.WORKSPACE),
        ({"status": 402}, Fault.WORKSPACE),
        ({"status": 403, "body": "<html>", "content_type": "text/html"}, Fault.WORKSPACE),
        ({"status": 403, "body": '{"detail": "no"}'}, Fault.REFUSED),
        ({"status": 404}, Fault.NOT_FOUND),
        ({"status": 400}, Fault.REFUSED),
        ({"status": 405}, Fault.REFUSED),
        ({"status": 418}, Fault.REFUSED),
        ({"status": 422}, Fault.REFUSED),
        ({"status": 429}, Fault.RATE_LIMITED),
        ({"status": 204, "body": ""}, Fault.UNREADABLE),
        ({"act": "html"}, Fault.UNREADABLE),
        ({"act": "empty"}, Fault.UNREADABLE),
        ({"act": "garbage", "variant": "nan"}, Fault.UNREADABLE),
        ({"act": "garbage", "variant": "deep"}, Fault.UNREADABLE),
        ({"act": "garbage", "variant": "latin1"}, Fault.UNREADABLE),
        ({"act": "garbage", "variant": "null"}, Fault.UNREADABLE),
        ({"act": "garbage", "variant": "list"}, Fault.UNREADABLE),
        ({"act": "garbage", "variant": "text"}, Fault.UNREADABLE),
        ({"act": "other_bot"}, Fault.WRONG_BODY),
        ({"act": "partial"}, Fault.NETWORK),
        ({"act": "reset"}, Fault.NETWORK),
        ({"act": "close"}, Fault.NETWORK),
        ({"act": "endless"}, Fault.TOO_LARGE),
    ],
)
def test_every_failure_has_its_fault(
    fake: FakeRecall, wire: HttpClient, fault: dict[str, Any], kind: Fault
) -> None:
    """Which decides what follows."""
    assert failure(fake, wire, **fault).fault is kind


def test_a_compressed_answer_is_not_unpacked(fake: FakeRecall, wire: HttpClient) -> None:
    """We request none; 64 MiB of zeros in a few kilobytes stay compressed."""
    assert failure(fake, wire, act="gzip_bomb").fault in (Fault.UNREADABLE, Fault.TOO_LARGE)


@pytest.mark.parametrize("act", ["hang", "drip_headers", "drip_body", "slow"])
def test_no_call_outlives_the_drains_end(fake: FakeRecall, wire: HttpClient, act: str) -> None:
    """A byte each tenth of a second would keep httpx waiting for ever; the cut counts nothing."""
    started = time.monotonic()
    error = failure(fake, wire, seconds=0.6, act=act, gap=0.1, delay=30 if act == "slow" else 0)
    assert error.fault is Fault.CUT
    assert time.monotonic() - started < 5


def test_a_call_that_takes_its_whole_time_is_a_timeout(
    fake: FakeRecall, wire: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the call, not of the drain: it counts."""
    monkeypatch.setattr("workers.recall_api.client.CALL_SECONDS", 0.3)
    assert failure(fake, wire, act="drip_body", gap=0.1).fault is Fault.TIMEOUT


def test_a_redirect_is_not_followed(fake: FakeRecall, wire: HttpClient) -> None:
    """Otherwise the calendar token would be sent to another host."""
    with Receiver() as elsewhere:
        bot = a_bot(fake)
        recall = client(fake, wire)
        (ref,) = recall.bot(bot.id).meetings
        token = recall.authenticate(str(ref.external_id))
        fake.faults.add(Scripted(act="redirect", location=f"{elsewhere.url}/taken"))
        for call in (lambda: recall.bot(bot.id), lambda: recall.meeting(ref.meeting_id, token)):
            with pytest.raises(RecallError) as caught:
                call()
            assert caught.value.fault is Fault.REFUSED
        assert elsewhere.requests == []


@pytest.mark.parametrize("variant", ["crlf", "empty", "non_ascii", "huge", "null", "number"])
def test_a_token_that_is_none_is_never_sent(
    fake: FakeRecall, wire: HttpClient, variant: str
) -> None:
    """It would break the request, or be sent empty."""
    fake.faults.add(Scripted(act="token", path="calendar/authenticate", variant=variant))
    with pytest.raises(RecallError) as caught:
        client(fake, wire).authenticate("crew-1")
    assert caught.value.fault in (Fault.UNREADABLE, Fault.TOO_LARGE)


def test_a_failed_call_leaves_the_connection_usable(fake: FakeRecall, wire: HttpClient) -> None:
    """The next call on the same wire is answered."""
    bot = a_bot(fake)
    for act in ("reset", "partial", "endless", "hang"):
        failure(fake, wire, act=act, seconds=0.3 if act == "hang" else 60)
        assert client(fake, wire).bot(bot.id).meetings


def test_a_recall_that_is_away_is_a_network_failure(wire: HttpClient) -> None:
    """Refused or unknown."""
    for url in ("http://127.0.0.1:9", "http://recall.invalid"):
        recall = Recall(wire, url, "key", until=time.monotonic() + 5)
        with pytest.raises(RecallError) as caught:
            recall.bot("x")
        assert caught.value.fault is Fault.NETWORK


def test_what_is_kept_of_an_errors_body_holds_no_key(fake: FakeRecall, wire: HttpClient) -> None:
    """Also when Recall echoes it; and at most 500 characters."""
    echo = f"your key {fake.api_key} is bad " + "x" * 2000
    error = failure(fake, wire, status=400, body=echo)
    assert fake.api_key not in error.detail
    assert error.detail.startswith("your key … is bad")
    assert len(error.detail) == 500


def test_tls_is_verified(tmp_path: Any) -> None:
    """A certificate of no known authority is a network failure; a known one is not."""
    ca = tmp_path / "ca.pem"
    with FakeRecall(tls_ca=ca) as fake:
        bot = a_bot(fake)
        stranger, friend = HttpClient(make_ssl_context()), HttpClient(make_ssl_context(str(ca)))
        with pytest.raises(RecallError) as caught:
            client(fake, stranger).bot(bot.id)
        assert caught.value.fault is Fault.NETWORK
        assert client(fake, friend).bot(bot.id).meetings
        stranger.close()
        friend.close()


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("86400000", 86_400_000),
        ("-5", None),
        ("soon", None),
        ("1e3", None),
        ("9" * 40, None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("Fri, 31 Feb 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_read_or_passed_over(value: str | None, seconds: float | None) -> None:
    """Seconds, or an HTTP date; missing or absurd is survived."""
    assert parse_retry_after(value, NOW) == seconds


def test_every_endpoint_says_what_opens_it() -> None:
    """A 401 means something else for a key than for a token."""
    assert {endpoint for endpoint in Endpoint if not endpoint.by_api_key} == {
        *(Endpoint.MEETING, Endpoint.MEETINGS, Endpoint.REFRESH, Endpoint.USER),
        Endpoint.DISCONNECT,
    }
