"""A calendar is connected through the consent page and Recall's callback."""

import json
import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.lab.api.oauth_api import GOOGLE, MICROSOFT, Provider
from tests.lab.asking import Asking, asking
from tests.lab.recall import FakeRecall

PAGES = {"google": "/o/oauth2/v2/auth", "microsoft": "/common/oauth2/v2.0/authorize"}
CALLBACKS = {"google": "google_oauth_callback", "microsoft": "ms_oauth_callback"}
BOTH = pytest.mark.parametrize("provider", [GOOGLE, MICROSOFT], ids=lambda p: p.platform)


@pytest.fixture
def ask() -> Iterator[Asking]:
    """Yield a client of a fresh fake."""
    with FakeRecall() as recall, asking(recall) as client:
        yield client


@BOTH
def test_allowing_connects_and_returns_to_success_url(ask: Asking, provider: Provider) -> None:
    """The browser comes back to success_url with the parameters it had; the calendar is on."""
    links = _consent(ask, provider, _state(ask, provider))
    answer = ask.http.get(links["allow"])
    assert answer.status_code == 302
    assert answer.headers["location"] == "https://app.example/ok?user=7&tab=a%20b"
    user = ask.recall.world.user_named("ines")
    assert user is not None
    assert user.connection(provider.platform).connected
    assert user.connection(provider.platform).email == "ines@home.example"


@BOTH
@pytest.mark.parametrize(("link", "reason"), [("deny", "access_denied"), ("untick", "invalid_s")])
def test_refusing_returns_to_error_url(
    ask: Asking, provider: Provider, link: str, reason: str
) -> None:
    """error_url keeps its parameters and gains a reason; nothing is connected."""
    links = _consent(ask, provider, _state(ask, provider))
    location = ask.http.get(links[link]).headers["location"]
    assert location.startswith(f"https://app.example/bad?user=7&reason={reason}")
    user = ask.recall.world.user_named("ines")
    assert user is not None
    assert not user.is_connected


@BOTH
def test_without_error_url_a_person_reads_why(ask: Asking, provider: Provider) -> None:
    """A worthless token, and then a denial, end in plain text with 400."""
    state = {**_state(ask, provider), "error_url": "", "recall_calendar_auth_token": "old"}
    answer = ask.http.get(_consent(ask, provider, state)["allow"])
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert "recall_calendar_auth_token" in answer.text


def test_a_code_works_once_and_only_for_its_redirect_uri(ask: Asking) -> None:
    """A used code and a state that names another redirect URI are both refused."""
    state = _state(ask, GOOGLE)
    links = _consent(ask, GOOGLE, state)
    assert "/ok?" in ask.http.get(links["allow"]).headers["location"]
    assert "invalid_grant" in ask.http.get(links["allow"]).headers["location"]
    other = {**state, "google_oauth_redirect_url": "https://app.example/callback"}
    location = ask.http.get(_consent(ask, GOOGLE, other)["allow"]).headers["location"]
    assert "redirect_uri_mismatch" in location


def test_a_forwarder_that_mangles_the_query_is_found_out(ask: Asking) -> None:
    """Codes hold a plus: one that is decoded once too often no longer works."""
    link = _consent(ask, GOOGLE, _state(ask, GOOGLE))["allow"]
    assert "%2B" in link
    assert "invalid_grant" in ask.http.get(link.replace("%2B", "+")).headers["location"]


def test_google_needs_offline_access_and_consent(ask: Asking) -> None:
    """Without them there is no refresh token, the error people really see."""
    links = _consent(ask, GOOGLE, _state(ask, GOOGLE), access_type="online")
    assert "no_refresh_token" in ask.http.get(links["allow"]).headers["location"]


@pytest.mark.parametrize("state", ["", "no json", "[]", "{}"])
def test_a_state_that_is_none_gets_plain_text(ask: Asking, state: str) -> None:
    """With no error_url to trust, nobody is redirected anywhere."""
    path = "calendar/google_oauth_callback/"
    answer = ask.call("GET", path, params={"state": state, "code": "x"})
    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_the_consent_page_escapes_and_checks_what_it_is_given(ask: Asking) -> None:
    """A hostile client_id stays text; an incomplete request is refused."""
    query = {"client_id": "<b>", "redirect_uri": "https://x.example", "scope": "s"}
    page = ask.http.get(PAGES["google"], params={**query, "response_type": "code"})
    assert "&lt;b&gt;" in page.text
    assert ask.http.get(PAGES["google"], params=query).status_code == 400


def _state(ask: Asking, provider: Provider) -> dict[str, str]:
    callback = f"{ask.recall.url}/api/v1/calendar/{CALLBACKS[provider.platform]}/"
    return {
        "recall_calendar_auth_token": ask.token("ines"),
        provider.redirect_key: callback,
        "success_url": "https://app.example/ok?user=7&tab=a%20b",
        "error_url": "https://app.example/bad?user=7",
    }


def _consent(
    ask: Asking, provider: Provider, state: dict[str, str], **changes: str
) -> dict[str, str]:
    callback = f"{ask.recall.url}/api/v1/calendar/{CALLBACKS[provider.platform]}/"
    query = {
        "client_id": "lab",
        "redirect_uri": callback,
        "response_type": "code",
        "scope": f"offline_access {provider.scope}",
        "access_type": "offline",
        "prompt": "consent",
        "login_hint": "ines@home.example",
        "state": json.dumps(state),
        **changes,
    }
    links = _links(ask.http.get(PAGES[provider.platform], params=query))
    assert json.loads(parse_qs(urlsplit(links["deny"]).query)["state"][0]) == state
    return links


def _links(page: httpx.Response) -> dict[str, str]:
    found = re.findall(r'<a id="(\w+)" href="([^"]+)"', page.text)
    return {name: unescape(link) for name, link in found}
