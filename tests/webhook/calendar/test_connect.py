"""Connecting: links that work once, addresses that cannot be bent, results that Recall confirms."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, quote_plus, urlsplit

import httpx
import pytest
from flask import Flask, Request, Response
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert, update
from werkzeug.test import TestResponse

from models.settings.redirect_urls import WebAddress
from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.calendar import ErasedUser
from models.tables.connect_link import ConnectLink
from tests.conftest import MakeSettings
from tests.lab.faults.faults import Fault as Scripted
from tests.lab.recall import FakeRecall
from tests.support.calendar_app import PAGES, PUBLIC, ask, calendar_settings, proof
from tests.support.rows import rows
from webhook.app import create_app, resources_of
from webhook.calendar.oauth_errors import FAILURES, Failure, known_failure
from webhook.calendar.oauth_state import StateCookies
from workers.privacy.tombstones import external_id_hash

MakeClient = Callable[..., FlaskClient]
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BOTH = pytest.mark.parametrize("platform", ["google", "microsoft"])
HOSTS = {"google": "https://accounts.google.com", "microsoft": "https://login.microsoftonline.com"}
CALLBACKS = {"google": "google_oauth_callback", "microsoft": "ms_oauth_callback"}
TARGET = f"{PAGES}/settings?user=7&tab=a%20b#top"


@pytest.fixture
def make_client(make_settings: MakeSettings, recall: FakeRecall) -> Iterator[MakeClient]:
    """Make clients of applications with these settings besides the usual ones."""
    apps: list[Flask] = []

    def make(**others: object) -> FlaskClient:
        apps.append(create_app(make_settings(**calendar_settings(recall, **others))))
        return apps[-1].test_client()

    yield make
    for app in apps:
        resources_of(app).close()


@pytest.fixture
def client(make_client: MakeClient) -> FlaskClient:
    """A client of an application that is told everything."""
    return make_client()


def link_for(client: FlaskClient, platform: str = "google", user: str = "ines", **body: Any) -> str:
    """A fresh link's path, asked with a proof."""
    answer = ask(client, f"/calendar/connect/{platform}", {"userId": user, **body}, proof(user))
    assert answer.status_code == 201, answer.get_data(as_text=True)
    assert answer.get_json()["expires_in"] == 300
    assert answer.get_json()["url"].startswith(f"{PUBLIC}/calendar/connect/{platform}?link=")
    return str(answer.get_json()["url"]).removeprefix(PUBLIC)


def consent(client: FlaskClient, path: str) -> dict[str, str]:
    """The parameters of the provider's page that a link leads to."""
    answer = client.get(path)
    assert answer.status_code == 302, answer.get_data(as_text=True)
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


def travel(
    client: FlaskClient, recall: FakeRecall, path: str, choice: str = "allow"
) -> TestResponse:
    """Follow a link as a browser would: provider, our callback, Recall's, our result page."""
    address = client.get(path).headers["Location"]
    for host in HOSTS.values():
        address = address.replace(host, recall.url)
    with httpx.Client(trust_env=False) as http:
        page = http.get(address).text
        back = dict(re.findall(r'<a id="(\w+)" href="([^"]+)"', page))[choice]
        forwarded = client.get(unescape(back).removeprefix(PUBLIC)).headers["Location"]
        assert forwarded.startswith(f"{recall.url}/api/v1/calendar/")
        result = http.get(forwarded).headers["Location"]
    assert result.startswith(f"{PUBLIC}/calendar/")
    return client.get(result.removeprefix(PUBLIC))


@BOTH
def test_a_proved_caller_connects_and_recall_confirms_it(
    client: FlaskClient, recall: FakeRecall, platform: str
) -> None:
    """The result page tells whose calendar it is, and leads back with the caller's own context."""
    answer = travel(client, recall, link_for(client, platform, returnTo=TARGET))
    text = answer.get_data(as_text=True)
    assert f"someone@{platform}.example" in text
    back = f"{PAGES}/settings?user=7&tab=a%20b&calendar=connected&platform={platform}#top"
    assert back in unescape(text)
    assert answer.headers["Refresh"].endswith(f"url={back}")
    user = recall.world.user_named("ines")
    assert user is not None
    assert user.connection(platform).connected


@ON_SQLITE
def test_google_is_asked_as_recall_documents_it(client: FlaskClient) -> None:
    """Offline access with a new consent, the two scopes, and our own callback."""
    answer = client.get(link_for(client))
    address = urlsplit(answer.headers["Location"])
    assert f"{address.scheme}://{address.netloc}{address.path}" == (
        "https://accounts.google.com/o/oauth2/v2/auth"
    )
    query = dict(parse_qsl(address.query))
    state = json.loads(query.pop("state"))
    assert query == {
        "client_id": "google-client",
        "redirect_uri": f"{PUBLIC}/calendar/callback/google",
        "response_type": "code",
        "scope": "https://www.googleapis.com/auth/calendar.events.readonly"
        " https://www.googleapis.com/auth/userinfo.email",
        "access_type": "offline",
        "prompt": "consent",
        "include_granted_scopes": "true",
    }
    trip = parse_qs(urlsplit(state["success_url"]).query)["trip"][0]
    assert state == {
        "recall_calendar_auth_token": state["recall_calendar_auth_token"],
        "google_oauth_redirect_url": f"{PUBLIC}/calendar/callback/google",
        "success_url": f"{PUBLIC}/calendar/connected?trip={trip}",
        "error_url": f"{PUBLIC}/calendar/failed?trip={trip}",
    }


@ON_SQLITE
def test_microsoft_is_asked_without_a_new_consent(client: FlaskClient) -> None:
    """prompt=consent sends users of managed tenants in a circle."""
    answer = client.get(link_for(client, "microsoft"))
    assert answer.headers["Location"].startswith(
        "https://login.microsoftonline.com/common/oauth2/v2.0/authorize?"
    )
    query = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
    assert "prompt" not in query
    assert query["response_mode"] == "query"
    assert (
        query["scope"] == "offline_access openid email https://graph.microsoft.com/Calendars.Read"
    )
    assert json.loads(query["state"])["ms_oauth_redirect_url"] == query["redirect_uri"]


@ON_SQLITE
def test_the_token_in_the_state_is_fresh_at_the_click(
    client: FlaskClient, recall: FakeRecall
) -> None:
    """Not the cached one, which may have an hour left; it is encoded once."""
    cached = ask(client, "/calendar/auth-token", {}, proof()).get_json()["token"]
    path = link_for(client)
    location = client.get(path).headers["Location"]
    (raw,) = re.findall(r"state=([^&]+)", location)
    assert raw.startswith("%7B%22recall_calendar_auth_token%22%3A")
    state = json.loads(dict(parse_qsl(urlsplit(location).query))["state"])
    assert state["recall_calendar_auth_token"] != cached
    assert recall.world.user_of_token(state["recall_calendar_auth_token"]) is not None


def test_a_link_works_once(client: FlaskClient) -> None:
    """The second click is told why."""
    path = link_for(client)
    assert client.get(path).status_code == 302
    second = client.get(path)
    assert second.status_code == 410
    assert "works once" in second.get_data(as_text=True)


def test_of_many_web_processes_one_follows_a_link(make_client: MakeClient) -> None:
    """The row decides, not the process: four at once, one redirect."""
    clients = [make_client() for _ in range(4)]
    path = link_for(clients[0])
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda client: client.get(path).status_code, clients))
    assert sorted(codes) == [302, 410, 410, 410]


@ON_SQLITE
def test_a_link_is_over_after_five_minutes(client: FlaskClient, engine: Engine) -> None:
    """And its way back an hour after the click."""
    late, used = link_for(client), link_for(client)
    state = json.loads(consent(client, used)["state"])
    (row,) = [row for row in rows(engine, ConnectLink) if row.used_at is None]
    with engine.begin() as connection:
        assert 290 < (row.expires_at - connection.scalar(db_now().select())).total_seconds() <= 300
        connection.execute(update(ConnectLink).values(expires_at=db_now(-1), used_at=db_now(-3601)))
        connection.execute(
            update(ConnectLink).where(ConnectLink.link_hash == row.link_hash).values(used_at=None)
        )
    assert client.get(late).status_code == 410
    assert client.get(state["success_url"].removeprefix(PUBLIC)).status_code == 404


@ON_SQLITE
def test_a_link_is_for_its_platform_and_no_other(client: FlaskClient) -> None:
    """Tried for another, it stays good for its own."""
    path = link_for(client, "google")
    assert client.get(path.replace("google", "microsoft", 1)).status_code == 410
    assert client.get(path).status_code == 302


@ON_SQLITE
def test_a_get_takes_nothing_but_a_link(client: FlaskClient, recall: FakeRecall) -> None:
    """Tampered, missing, or with a proof in its address: the same page."""
    good = link_for(client)
    recall.calls.clear()
    path = "/calendar/connect/google"
    wrong = ["", "?link=", "?link=x", "?link=' OR 1=1 --", "?link=%00", f"?jwt={proof()}"]
    changed = good[:-1] + ("A" if good[-1] != "A" else "B")
    for address in (*(path + query for query in wrong), changed, good + "x", good.swapcase()):
        assert client.get(address).status_code in (404, 410), address
    assert recall.calls.all() == []


@ON_SQLITE
def test_looking_ahead_uses_no_link_up(client: FlaskClient) -> None:
    """HEAD and prefetches are of chat programs and browsers, not of the person."""
    path = link_for(client)
    assert client.head(path).status_code == 204
    assert client.get(path, headers={"Sec-Purpose": "prefetch;prerender"}).status_code == 204
    assert client.get(path).status_code == 302


@ON_SQLITE
def test_a_link_needs_a_proof(client: FlaskClient, recall: FakeRecall) -> None:
    """As the token exchange does, with the same refusals."""
    for token, status in ((None, 401), (proof("crew"), 403)):
        answer = ask(client, "/calendar/connect/google", {"userId": "ines"}, token)
        assert answer.status_code == status
    foreign = ask(client, "/calendar/connect/google", {}, proof(), Origin="https://evil.example")
    assert foreign.status_code == 403
    preflight = client.options("/calendar/connect/google", headers={"Origin": PAGES})
    assert preflight.headers["Access-Control-Allow-Origin"] == PAGES
    assert recall.calls.all() == []


ELSEWHERE = [
    "https://evil.example/settings",
    "//evil.example/settings",
    "/settings",
    "https:app.example/settings",
    "https:///app.example/settings",
    "https://app.example@evil.example/settings",
    "https://app.example:hunter2@evil.example/settings",
    "https://app.example\\@evil.example/settings",
    "https://app.example%2eevil.example/settings",
    "https://app.example.evil.example/settings",
    "https://app.example:8443/settings",
    "http://app.example/settings",
    "https://app.example/settingsx",
    "https://app.example/",
    "https://app.example/settings/../admin",
    "https://app.example/settings/%2e%2E/admin",
    "https://app.example/settings/..%2fadmin",
    "https://app.example/settings/.%5c..%5cadmin",
    "https://app.example/settings\\..\\admin",
    "https://app.example/settings\n",
    "https://app.example/settings\tx",
    " https://app.example/settings",
    "https://app.example/settings?a=b c",
    'https://app.example/settings?"><script>',
    "https://\u0430pp.example/settings",
    "javascript:alert(1)//https://app.example/settings",
    "data:text/html,https://app.example/settings",
    "https://app.example/settings?" + "x" * 3000,
]


@ON_SQLITE
def test_browsers_are_sent_nowhere_else(client: FlaskClient, recall: FakeRecall) -> None:
    """Only to CALENDAR_RETURN_URLS or below, however the address is written."""
    for number, target in enumerate(ELSEWHERE):
        # A user each: one alone would be slowed.
        token = proof(f"user-{number}")
        answer = ask(client, "/calendar/connect/google", {"returnTo": target}, token)
        assert answer.status_code == 400, target
        assert answer.get_json()["parameter"] == "returnTo"
    assert recall.calls.all() == []


@pytest.mark.parametrize(
    "target",
    [
        "https://app.example/settings",
        "https://APP.example:443/settings/",
        "https://app.example/settings/calendars;v=1?next=https://evil.example/&x=%22#a/b?c",
        "http://localhost:3000/x",
        "http://[::1]:3000/x",
    ],
)
def test_an_allowed_address_keeps_its_own_parts(target: str) -> None:
    """Same origin and folder; what follows is the application's business."""
    allowed = [
        WebAddress.parse(one)
        for one in ("https://app.example/settings", "http://localhost:3000", "http://[::1]:3000/")
    ]
    address = WebAddress.parse(target)
    assert any(address.is_under(one) for one in allowed)
    assert WebAddress.parse(str(address)) == address


@ON_SQLITE
def test_nothing_of_a_caller_gets_into_the_state(client: FlaskClient) -> None:
    """A hostile external_id or target neither adds a key nor ends a string."""
    hostile = 'x","success_url":"https://evil.example/","a":"&state={}#'
    target = f"{PAGES}/settings?success_url=https://evil.example/&state=x"
    path = link_for(client, user=hostile, returnTo=target)
    state = json.loads(consent(client, path)["state"])
    assert len(state) == 4
    assert "evil" not in str(state)
    assert state["success_url"].startswith(f"{PUBLIC}/calendar/connected?trip=")


def test_a_second_calendar_of_a_platform_is_refused_with_the_reason(
    client: FlaskClient, recall: FakeRecall
) -> None:
    """Unless replace=1: connecting it clears the first one's bots and data."""
    travel(client, recall, link_for(client))
    answer = ask(client, "/calendar/connect/google", {}, proof())
    assert answer.status_code == 409
    told = answer.get_json()
    assert (told["reason"], told["email"]) == ("already_connected", "someone@google.example")
    assert "clears the bots" in told["detail"]
    for body, query in (({"replace": 1}, ""), ({}, "?replace=1")):
        asked = ask(client, f"/calendar/connect/google{query}", body, proof())
        assert asked.status_code == 201
        path = asked.get_json()["url"].removeprefix(PUBLIC)
        assert "is connected" in travel(client, recall, path).get_data(as_text=True)
    # The other platform is nobody's rival.
    link_for(client, "microsoft")


@ON_SQLITE
def test_a_calendar_that_came_meanwhile_is_not_cleared(
    client: FlaskClient, recall: FakeRecall
) -> None:
    """Two links made before either was followed: the second click is refused, its link kept."""
    first, second = link_for(client), link_for(client)
    travel(client, recall, first)
    answer = client.get(second)
    assert answer.status_code == 409
    assert "clearing" not in answer.headers.get("Location", "")
    assert "replace=1" in answer.get_data(as_text=True)


def test_an_erased_user_comes_back_by_connecting_alone(
    client: FlaskClient, recall: FakeRecall, engine: Engine
) -> None:
    """Asking for a link makes nobody; following it lifts the tombstone, and tokens come again."""
    values = {"external_id_hash": external_id_hash("ines"), "reason": "asked"}
    with engine.begin() as connection:
        connection.execute(insert(ErasedUser).values(**values, erased_at=db_now()))
    path = link_for(client)
    assert recall.world.user_named("ines") is None
    assert ask(client, "/calendar/auth-token", {}, proof()).status_code == 403
    travel(client, recall, path)
    (tomb,) = rows(engine, ErasedUser)
    assert tomb.lifted_at is not None
    assert [(row.action, row.subject) for row in rows(engine, Audit)] == [
        ("lift tombstone", "ines")
    ]
    assert ask(client, "/calendar/auth-token", {}, proof()).status_code == 200


@ON_SQLITE
def test_recall_away_costs_no_link(client: FlaskClient, recall: FakeRecall) -> None:
    """503 with Retry-After; the same link works when Recall is back."""
    path = link_for(client)
    with recall.faults.during(Scripted(status=502)):
        answer = client.get(path)
        refused = ask(client, "/calendar/connect/google", {}, proof())
    for one in (answer, refused):
        assert one.status_code == 503
        assert "Retry-After" in one.headers
    assert client.get(path).status_code == 302


def test_links_and_users_cannot_be_read_from_the_table(client: FlaskClient, engine: Engine) -> None:
    """Hashes of the secrets, and whom it is for sealed."""
    path = link_for(client, user="ines@home.example", returnTo=TARGET)
    consent(client, path)
    (row,) = rows(engine, ConnectLink)
    for secret in (path.partition("link=")[2], "ines", "app.example"):
        assert secret not in str(row)


@ON_SQLITE
@BOTH
def test_the_callback_forwards_the_query_as_it_came(
    client: FlaskClient, recall: FakeRecall, platform: str
) -> None:
    """Byte for byte, to Recall's callback in the region; a code that is re-coded is another."""
    wanted = f"{recall.url}/api/v1/calendar/{CALLBACKS[platform]}/"
    state = consent(client, link_for(client, platform))["state"]
    for written in (quote(state), quote(state, safe=""), quote_plus(state), state):
        for query in (
            f"state={written}",
            f"code=4%2F0Ab%2Bc+d&state={written}&scope=x%20y&scope=z",
            f"error=access_denied&st%61te={written}&empty=&flag",
            f"a=%zz&b=%00&c=\xe9&&=&d=%0d%0aSet-Cookie:x&state={written}",
        ):
            environ = {"QUERY_STRING": query}
            answer = client.get(f"/calendar/callback/{platform}", environ_overrides=environ)
            assert answer.status_code == 302
            assert answer.headers["Location"] == f"{wanted}?{query}"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"


@ON_SQLITE
def test_the_callback_is_the_regions(make_client: MakeClient, make_settings: MakeSettings) -> None:
    """Where no other base URL is set."""
    client = make_client(RECALL_API_BASE_URL="", RECALL_REGION="eu-central-1")
    answer = Response()
    StateCookies(make_settings(PUBLIC_URL=PUBLIC)).remember(Request({}), answer, "x")
    name, _, value = answer.headers["Set-Cookie"].partition(";")[0].partition("=")
    client.set_cookie(name, value)
    location = client.get("/calendar/callback/google?code=x&state=x").headers["Location"]
    assert location == (
        "https://eu-central-1.recall.ai/api/v1/calendar/google_oauth_callback/?code=x&state=x"
    )


@ON_SQLITE
@BOTH
@pytest.mark.parametrize(
    ("choice", "title"),
    [("untick", "box was not ticked"), ("deny", "Permission was not granted")],
)
def test_a_refusal_is_explained_in_plain_words(
    client: FlaskClient, recall: FakeRecall, platform: str, choice: str, title: str
) -> None:
    """What happened, what the person can do, what the operator can do, and the way back."""
    path = link_for(client, platform, returnTo=TARGET)
    text = unescape(travel(client, recall, path, choice).get_data(as_text=True))
    assert title in text
    assert text.count("<section>") == 1
    assert "What you can do" in text
    assert f"{PAGES}/settings?user=7&tab=a%20b&calendar=failed&platform={platform}#top" in text


@ON_SQLITE
def test_success_is_recalls_word_and_not_the_redirects(
    client: FlaskClient, recall: FakeRecall
) -> None:
    """Whoever types the address of success is told that nothing is connected."""
    state = json.loads(consent(client, link_for(client))["state"])
    path = state["success_url"].removeprefix(PUBLIC)
    answer = client.get(path)
    assert "was not connected" in answer.get_data(as_text=True)
    assert "Refresh" not in answer.headers
    with recall.faults.during(Scripted(path="calendar/user", status=503)):
        assert client.get(path).status_code == 503
    user = recall.world.user_named("ines")
    assert user is not None
    recall.world.connect(user.id, "google", "ines@home.example")
    assert "ines@home.example" in client.get(path).get_data(as_text=True)


@ON_SQLITE
def test_a_failure_beside_a_standing_calendar_says_so(
    client: FlaskClient, recall: FakeRecall
) -> None:
    """The earlier one is still there."""
    travel(client, recall, link_for(client))
    text = travel(client, recall, link_for(client, replace=True), "deny").get_data(as_text=True)
    assert "is unchanged" in text
    assert "someone@google.example" in text


@pytest.mark.parametrize(
    ("told", "title"),
    [
        (
            "Calendar connection failed! (reason: refresh_token missing from oAuth response)",
            "did not grant lasting access",
        ),
        (
            "Calendar connection failed! (Invalid ‘recall_calendar_auth_token’ supplied)",  # noqa: RUF001 - Recall's own words
            "took too long",
        ),
        (
            "invalid_scope(detail: None of the supported calendar scopes([...]) present)",
            "box was not ticked",
        ),
        (
            "AADSTS50194: Application is not configured as a multi-tenant application",
            "organisation",
        ),
        ("invalid_grant: Token has been expired or revoked.", "seven days"),
        ("access_denied", "Permission was not granted"),
        ("redirect_uri_mismatch", "not registered"),
    ],
)
def test_each_known_failure_is_known_by_its_words(told: str, title: str) -> None:
    """As the FAQ and the providers print them, in whatever parameter they come."""
    platform = "microsoft" if "AADSTS" in told else "google"
    failure = known_failure(["7", told], platform)  # type: ignore[arg-type]
    assert failure is not None
    assert title in failure.title


def test_other_words_are_no_known_failure() -> None:
    """Guessing would send people the wrong way; a Microsoft one is not Google's."""
    assert known_failure(["user=7", "ok"], "google") is None
    assert known_failure(["multitenant"], "google") is None


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.title)
def test_each_failure_says_what_to_do(failure: Failure) -> None:
    """For the person, and for the operator."""
    assert all((failure.what, failure.you, failure.operator, failure.words))
    assert all(word == word.lower() for word in failure.words)


@ON_SQLITE
def test_what_a_stranger_writes_is_never_shown(client: FlaskClient) -> None:
    """Without a trip of ours the page is a help page; with one, what was told is escaped."""
    text = client.get("/calendar/failed?reason=Call+0900&platform=google").get_data(as_text=True)
    assert "0900" not in text
    assert text.count("<section>") == len([f for f in FAILURES if "google" in f.platforms])
    state = json.loads(consent(client, link_for(client))["state"])
    path = state["error_url"].removeprefix(PUBLIC)
    text = client.get(f"{path}&reason=<script>alert(1)</script>").get_data(as_text=True)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


@ON_SQLITE
@pytest.mark.parametrize("path", ["/calendar/failed", "/calendar/connected?trip=x"])
def test_pages_run_nothing_and_tell_nobody(client: FlaskClient, path: str) -> None:
    """A strict policy, no inline script or style, no Referer, no cache; the style is ours."""
    answer = client.get(path)
    text = answer.get_data(as_text=True)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "unsafe" not in policy
    assert "<script" not in text
    assert "style=" not in text
    assert "<style" not in text
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    with client.get("/calendar/static/style.css") as style:
        assert style.status_code == 200
