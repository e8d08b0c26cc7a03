"""The fake limits, logs and keeps connections as a real service would."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.lab.api.limits import Limits
from tests.lab.asking import Asking, asking
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.world.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """Time stands still until a test moves it."""
    return ManualClock()


@pytest.fixture
def ask(clock: ManualClock) -> Iterator[Asking]:
    """Yield a client of a fake whose limits are a hundredth of Recall's."""
    with FakeRecall(clock=clock, limits_scale=0.01) as recall, asking(recall) as client:
        yield client


def test_a_window_slides_exactly(clock: ManualClock) -> None:
    """Never more than the limit in any 60 s; a refused call does not count."""
    limits = Limits(clock)
    for second in range(3):
        assert limits.refuse("GET bot", "", 3) is None, second
        clock.advance(10)
    assert limits.refuse("GET bot", "", 3) == 30
    clock.advance(29.5)
    assert limits.refuse("GET bot", "", 3) == 1
    clock.advance(0.5)
    assert limits.refuse("GET bot", "", 3) is None
    assert limits.refuse("GET bot", "", 3) == 10


def test_a_full_window_answers_429_with_retry_after(ask: Asking, clock: ManualClock) -> None:
    """300 bot GETs a minute, scaled down to three; the fourth is told how long to wait."""
    bot = ask.recall.build.bot()
    answers = [ask.get(f"bot/{bot.id}/") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["retry-after"] == "60"
    clock.advance(60)
    assert ask.get(f"bot/{bot.id}/").status_code == 200


def test_windows_are_per_endpoint_and_per_calendar_user(ask: Asking) -> None:
    """One user's full window leaves other users and other endpoints alone."""
    ines, leif = ask.token("ines"), ask.token("leif")
    assert ask.as_user(ines, "GET", "calendar/user/").status_code == 200
    assert ask.as_user(ines, "GET", "calendar/user/").status_code == 429
    assert ask.as_user(ines, "GET", "calendar/meetings/").status_code == 200
    assert ask.as_user(leif, "GET", "calendar/user/").status_code == 200
    assert ask.as_user(ines, "PUT", "calendar/user/", json={}).status_code == 200
    assert ask.as_user(ines, "PATCH", "calendar/user/", json={}).status_code == 429


def test_strangers_use_nobodys_window(ask: Asking) -> None:
    """A call that is refused for its key does not count."""
    for _ in range(5):
        assert ask.call("GET", "bot/").status_code == 401
    assert ask.get("bot/").status_code == 200


def test_limits_can_be_lifted(ask: Asking) -> None:
    """Switched off, nothing is refused."""
    ask.recall.limits.on = False
    assert {ask.get("bot/").status_code for _ in range(5)} == {200}


def test_the_call_log_says_what_was_asked_and_how(ask: Asking) -> None:
    """Template, subject, headers and the client's port are kept; the lab's own doors are not."""
    user = ask.recall.build.user("ines")
    meeting = ask.recall.build.meeting(user)
    bot = ask.recall.build.bot([meeting])
    ask.get(f"bot/{bot.id}/")
    token = ask.token("ines")
    ask.as_user(token, "GET", f"calendar/meetings/{meeting.id}/?x=1")
    ask.control("GET", "stats")
    first, second, third = ask.recall.calls.all()
    assert (first.template, first.about, first.status) == ("bot/{id}", bot.id, 200)
    assert (second.template, second.about) == ("calendar/authenticate", "ines")
    assert second.has_body
    assert (third.template, third.about) == ("calendar/meetings/{id}", "ines")
    assert third.path == f"/api/v1/calendar/meetings/{meeting.id}/"
    assert third.has_calendar_token
    assert not third.has_authorization
    assert first.port == second.port == third.port
    assert ask.recall.open_connections == 1


def test_somebody_can_wait_for_a_call(ask: Asking) -> None:
    """wait_for returns once enough calls have come and says so when they do not."""
    ask.get("bot/")
    assert len(ask.recall.calls.wait_for(lambda call: call.template == "bot")) == 1
    with pytest.raises(TimeoutError, match="1 of 2"):
        ask.recall.calls.wait_for(lambda call: call.template == "bot", count=2, timeout=0.01)


def test_hundreds_of_calls_are_under_way_at_once(ask: Asking) -> None:
    """A call that waits holds up nobody else."""
    ask.recall.faults.add(Fault("hang", path="bot"))
    request = b"GET /api/v1/bot/ HTTP/1.1\r\nHost: lab\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            address = ("127.0.0.1", ask.recall.port)
            stack.enter_context(socket.create_connection(address)).sendall(request)
        ask.recall.calls.wait_for(lambda call: call.fault == "hang", count=300)
        assert ask.recall.in_flight == ask.recall.open_connections == 300
        assert ask.get("calendar/users/").status_code == 200


def test_latency_holds_every_answer_back(ask: Asking) -> None:
    """No answer leaves before its time."""
    ask.recall.latency_ms = 30
    ask.get("bot/")
    assert ask.recall.calls.all()[0].ms >= 29


def test_a_user_deleted_while_a_call_waits_is_401(ask: Asking) -> None:
    """The answer is that of its own time, not of the call's arrival."""
    token = ask.token("ines")
    ask.recall.faults.add(Fault("slow", delay=0.5))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask.as_user, token, "DELETE", "calendar/user/")
        while not ask.recall.in_flight:
            assert ask.recall.open_connections
        user = ask.recall.world.user_named("ines")
        assert user is not None
        ask.recall.world.delete_user(user.id)
        assert answer.result().status_code == 401


def test_an_outage_refuses_and_ends(ask: Asking) -> None:
    """With its door shut the fake is unreachable; opened again it has its old address."""
    url = ask.recall.url
    ask.recall.shut_door()
    with pytest.raises(httpx.ConnectError):
        ask.get("bot/")
    ask.recall.open_door()
    assert ask.recall.url == url
    assert ask.get("bot/").status_code == 200


def test_tls_is_trusted_through_its_own_authority_only(tmp_path: Path) -> None:
    """The certificate verifies against the CA file and against nothing else."""
    with FakeRecall(tls_ca=tmp_path / "ca.pem") as recall, asking(recall) as client:
        assert client.get("bot/").json()["next"] is None
        assert recall.url.startswith("https://")
        stranger = ssl.create_default_context()
        with (
            httpx.Client(verify=stranger, trust_env=False) as other,
            pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            other.get(recall.url)


def test_a_next_link_keeps_the_scheme_and_host_it_was_asked_by(tmp_path: Path) -> None:
    """Behind TLS the absolute link is https."""
    with FakeRecall(tls_ca=tmp_path / "ca.pem", page_size=1) as recall, asking(recall) as client:
        recall.build.populate(2)
        assert client.get("bot/").json()["next"].startswith(f"{recall.url}/api/v1/bot/")
