"""Whoever follows a connect link is who may come back from the provider, and nobody else."""

import shutil
from collections.abc import Iterator
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import MakeSettings
from tests.lab.recall import FakeRecall
from tests.support.calendar_app import PUBLIC, ask, calendar_settings, proof
from webhook.app import create_app, resources_of
from webhook.calendar.oauth_state import MOST_TRIPS
from webhook.cli.main import cli

BOTH = pytest.mark.parametrize("platform", ["google", "microsoft"])


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLite alone: a cookie asks no database."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'test.db')}"


@pytest.fixture
def app(make_settings: MakeSettings, recall: FakeRecall) -> Iterator[Flask]:
    """The application; each client of it is somebody's browser."""
    app = create_app(make_settings(**calendar_settings(recall)))
    yield app
    resources_of(app).close()


def asked_link(app: Flask, platform: str = "google", user: str = "ines") -> str:
    """A link that an application's page has asked for."""
    answer = ask(app.test_client(), f"/calendar/connect/{platform}", {}, proof(user))
    return str(answer.get_json()["url"]).removeprefix(PUBLIC)


def printed_link(database_url: str, recall: FakeRecall, platform: str) -> str:
    """A link that the command line has printed."""
    given = calendar_settings(recall, DATABASE_URL=database_url)
    environ = {name: str(value) for name, value in given.items()}
    words = ("calendar", "connect-url", "ines", platform)
    done = CliRunner().invoke(cli, words, env=environ, catch_exceptions=False)
    return done.stdout.strip().removeprefix(PUBLIC)


def followed(browser: FlaskClient, link: str) -> str:
    """The state that a browser carries to the provider."""
    location = browser.get(link).headers["Location"]
    return dict(parse_qsl(urlsplit(location).query))["state"]


def back(browser: FlaskClient, *states: str, platform: str = "google") -> TestResponse:
    """How a browser is answered that comes back from the provider."""
    query = urlencode([("code", "4/x"), *(("state", state) for state in states)])
    return browser.get(f"/calendar/callback/{platform}?{query}")


def cookies_of(answer: TestResponse) -> list[Morsel[str]]:
    """What an answer sets."""
    return [
        morsel
        for header in answer.headers.getlist("Set-Cookie")
        for morsel in SimpleCookie(header).values()
    ]


@BOTH
@pytest.mark.parametrize("printed", [False, True])
def test_another_browser_cannot_come_back_with_ones_state(
    app: Flask, database_url: str, recall: FakeRecall, platform: str, *, printed: bool
) -> None:
    """It is told what to do, Recall hears nothing, and who began may still come back."""
    link = printed_link(database_url, recall, platform) if printed else asked_link(app, platform)
    attacker, victim = app.test_client(), app.test_client()
    state = followed(attacker, link)
    recall.calls.clear()
    # Also one who is under way with a calendar of her own.
    for own in (None, asked_link(app, platform, "mara")):
        if own:
            assert back(victim, followed(victim, own), platform=platform).status_code == 302
        refused = back(victim, state, platform=platform)
        assert refused.status_code == 403
        assert "Location" not in refused.headers
        assert "start again" in refused.text
    assert not [call for call in recall.calls.all() if "callback" in call.path]
    assert back(attacker, state, platform=platform).status_code == 302


def test_behind_tls_the_cookie_is_this_hosts_alone(app: Flask) -> None:
    """`__Host-` and Secure; Lax, since the provider is another site; an hour, a restart or not."""
    browser = app.test_client()
    answer = browser.get(asked_link(app))
    (cookie,) = cookies_of(answer)
    assert cookie.key.startswith("__Host-")
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/", "", "3600")
    # Neither the token nor the trip's name, which are whoever's has them.
    query = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
    assert cookie.value not in query["state"]
    assert len(cookie.value) >= 32


def test_without_tls_the_cookie_goes_without_the_prefix(
    make_settings: MakeSettings, recall: FakeRecall
) -> None:
    """Browsers would refuse it; a lab on loopback connects all the same."""
    settings = make_settings(**calendar_settings(recall, PUBLIC_URL="http://127.0.0.1:8000"))
    app = create_app(settings)
    browser = app.test_client()
    link = asked_link(app).removeprefix("http://127.0.0.1:8000")
    answer = browser.get(link)
    (cookie,) = cookies_of(answer)
    assert not cookie.key.startswith("__")
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == ("", True, "Lax")
    query = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
    assert back(browser, query["state"]).status_code == 302
    resources_of(app).close()


def test_tabs_do_not_take_each_others_way_back(app: Flask) -> None:
    """Two links followed at once, before either answer was there; in any order, also twice."""
    tabs = [app.test_client(), app.test_client()]
    states = [followed(tab, asked_link(app, user=f"user-{n}")) for n, tab in enumerate(tabs)]
    browser = app.test_client()
    for tab in tabs:
        for cookie in cookies_of_client(tab):
            browser.set_cookie(*cookie)
    for state in (*states, *reversed(states)):
        assert back(browser, state).status_code == 302


def cookies_of_client(client: FlaskClient) -> list[tuple[str, str]]:
    """What a browser has kept."""
    sent = client.get("/healthz").request.headers.get("Cookie", "")
    return [(name, morsel.value) for name, morsel in SimpleCookie(sent).items()]


def test_a_state_that_was_not_handed_out_is_refused(app: Flask) -> None:
    """None, an empty one, two, one that was touched, or one whose hour is over."""
    browser = app.test_client()
    state = followed(browser, asked_link(app))
    other = followed(app.test_client(), asked_link(app, user="mara"))
    wrong = [
        (),
        ("",),
        (state, other),
        (other, state),
        (state, state),
        (state, ""),
        (state[:-1],),
        (f"{state} ",),
        (state.replace("connected", "failed"),),
        (state.swapcase(),),
        ("\0",),
        ("\ud800",),
        ("x" * 8000,),
    ]
    for states in wrong:
        query = urlencode([("state", one) for one in states], errors="surrogatepass")
        assert browser.get(f"/calendar/callback/google?{query}").status_code == 403, states
    ((name, value),) = cookies_of_client(browser)
    for changed in ("", value[:-1], value.swapcase(), f"{value}x", "\xe9"):
        browser.set_cookie(name, changed)
        assert back(browser, state).status_code == 403, changed
    browser.set_cookie(name, value)
    assert back(browser, state).status_code == 302
    browser.delete_cookie(name)
    assert back(browser, state).status_code == 403


def test_a_browser_keeps_the_latest_trips(app: Flask) -> None:
    """Links followed all day do not fill the head of every request."""
    browser = app.test_client()
    states = [followed(browser, asked_link(app, user=f"u-{n}")) for n in range(MOST_TRIPS + 3)]
    assert len(cookies_of_client(browser)) == MOST_TRIPS
    codes = [back(browser, state).status_code for state in states]
    assert codes == [403] * 3 + [302] * MOST_TRIPS


def test_a_link_that_leads_nowhere_leaves_no_cookie(app: Flask) -> None:
    """Looked ahead at, used up, or of no one."""
    link = asked_link(app)
    assert not cookies_of(app.test_client().head(link))
    looking = app.test_client().get(link, headers={"Sec-Purpose": "prefetch"})
    assert not cookies_of(looking)
    assert cookies_of(app.test_client().get(link))
    for path in (link, "/calendar/connect/google?link=x", "/calendar/callback/google?state=x"):
        assert not cookies_of(app.test_client().get(path)), path
