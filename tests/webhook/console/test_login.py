"""Who may see the console: tokens, cookies, forms, and what is refused."""

import re
import shutil
from html import unescape
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models.queries.registry import LISTS, ListKind
from tests.conftest import MakeSettings
from tests.support.console_client import (
    COOKIE,
    READ,
    WRITE,
    console_settings,
    log_in,
    logged_in,
    post,
)
from webhook.app import create_app, resources_of

SECURE_COOKIE = "__Host-recall-links"


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLite alone: nothing here asks the database what differs."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'test.db')}"


def test_a_token_is_traded_for_a_cookie_that_scripts_cannot_read(stranger: FlaskClient) -> None:
    """HttpOnly and strict; without TLS browsers refuse `__Host-`, so the name goes without."""
    response = log_in(stranger, READ)
    assert (response.status_code, response.location) == (303, "/console/")
    cookie = SimpleCookie(response.headers["Set-Cookie"])[COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert (cookie["path"], cookie["domain"], cookie["secure"]) == ("/", "", "")
    assert int(cookie["max-age"]) == 12 * 3600
    assert READ not in response.headers["Set-Cookie"]
    assert stranger.get("/console/").status_code == 200


def test_behind_tls_the_cookie_is_bound_to_this_host(stranger: FlaskClient) -> None:
    """`__Host-`: Secure, for the whole host and no other."""
    response = stranger.post(
        "/console/login", data={"token": READ}, base_url="https://links.example"
    )
    cookie = SimpleCookie(response.headers["Set-Cookie"])[SECURE_COOKIE]
    assert cookie["secure"]
    assert (cookie["path"], cookie["domain"]) == ("/", "")


def test_a_public_url_over_tls_is_enough_for_a_secure_cookie(make_settings: MakeSettings) -> None:
    """A proxy that ends TLS unseen must not leave the cookie to plain HTTP."""
    app = create_app(make_settings(OPS_READ_TOKENS=READ, PUBLIC_URL="https://links.example"))
    response = log_in(app.test_client(), READ)
    resources_of(app).close()
    assert SimpleCookie(response.headers["Set-Cookie"])[SECURE_COOKIE]["secure"]


@pytest.mark.parametrize(
    "token", ["", "wrong-token-0123456789", READ[:-1], f"{READ},{WRITE}", "é\0"]
)
def test_a_wrong_token_shows_the_login_again(stranger: FlaskClient, token: str) -> None:
    """With 401, and no cookie."""
    response = log_in(stranger, token)
    assert response.status_code == 401
    assert "That token is not valid" in response.text
    assert "Set-Cookie" not in response.headers


def test_a_forged_or_old_cookie_opens_nothing(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is signed, and lasts twelve hours."""
    client = logged_in(app, WRITE)
    cookie = client.get_cookie(COOKIE)
    assert cookie
    for forged in (cookie.value[:-2], f"x{cookie.value}", "W10.x.y", ""):
        stranger = app.test_client()
        stranger.set_cookie(COOKIE, forged)
        assert stranger.get("/console/").status_code == 302
    monkeypatch.setattr("webhook.web.auth.SESSION_SECONDS", -1)
    assert client.get("/console/").status_code == 302


@pytest.mark.parametrize(
    "tokens",
    [
        {"OPS_READ_TOKENS": f"{READ},another-token-4567", "OPS_WRITE_TOKENS": WRITE},
        # A token that may no longer write is the same text in another place.
        {"OPS_READ_TOKENS": f"{READ},{WRITE}"},
    ],
)
def test_rotating_the_tokens_logs_everybody_out(
    app: Flask, make_settings: MakeSettings, tokens: dict[str, str]
) -> None:
    """The key of every cookie is made from them."""
    cookie = logged_in(app, WRITE).get_cookie(COOKIE)
    rotated = create_app(make_settings(**tokens))
    client = rotated.test_client()
    assert cookie
    client.set_cookie(COOKIE, cookie.value)
    assert client.get("/console/").status_code == 302
    resources_of(rotated).close()


def test_logging_out_ends_the_session(reader: FlaskClient) -> None:
    """Also for who may only read; by a form of ours alone."""
    assert reader.post("/console/logout").status_code == 403
    assert reader.get("/console/").status_code == 200
    response = post(reader, "/console/logout")
    assert (response.status_code, response.location) == (303, "/console/login")
    assert reader.get("/console/").status_code == 302


def test_the_login_leads_back_to_what_was_asked_for(stranger: FlaskClient) -> None:
    """A link to a search survives it, word for word."""
    path = "/console/links?title=road%20map%26&since=2026-11-20"
    response = stranger.get(path)
    assert response.status_code == 302
    page = stranger.get(response.location)
    kept = re.search(r'name="next" value="([^"]+)"', page.text)
    assert kept
    assert log_in(stranger, READ, next=unescape(kept[1])).location == path


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example",
    "javascript:alert(1)",
    "/api/links",
    "",
    "/console",
    "/consolex/",
    # However a step up is spelt, by whatever browser or proxy reads it last.
    *(
        f"/console/{step}{rest}"
        for step in (
            "..",
            ".",
            "%2e%2e",
            "%2E.",
            ".%2e",
            "%252e%252e",
            "a/..",
            "..;",
            "\uff0e\uff0e",
        )
        for rest in ("", "/x", "/api/links", "?a=b", "#a", "\\x", "%2fx", "%5cx")
    ),
    *(
        f"/console/{text}"
        for text in ("/", "//", "/evil.example", "a//b", "%2f", "%5c", "%00", "%")
    ),
    "/console\\evil",
    "/console/\\evil.example",
    "/console/links?a=\\",
    "/console\uff0fx",
    *(
        f"/console/links{bad}"
        for bad in ("\t", "\n", "\r\nSet-Cookie: a=b", "\0", "\x7f", " ", "?a=b\n")
    ),
    "/console/links?a=\N{RIGHT-TO-LEFT OVERRIDE}",
]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", ELSEWHERE, ids=ascii)
def test_the_login_leads_to_no_other_place(stranger: FlaskClient, path: str) -> None:
    """A login form that leads elsewhere serves those who fish for tokens."""
    shown = stranger.get("/console/login", query_string={"next": path}).text
    assert 'name="next" value="/console/"' in shown
    assert log_in(stranger, READ, next=path).location == "/console/"
    assert stranger.get("/console/login", query_string={"next": path}).location == "/console/"


def test_a_page_that_asks_again_stays_in_the_console(stranger: FlaskClient) -> None:
    """An address that was decoded on its way in leads nobody out on the next step."""
    strange = {"Sec-Fetch-Site": "cross-site"}
    for path in ("/console/%2e%2e/api/links", "/console/a//evil.example", "/console/%5cevil"):
        assert 'content="0; url=/console/"' in stranger.get(path, headers=strange).text
        assert stranger.get(path).location == "/console/login"


@pytest.mark.parametrize("kind", LISTS, ids=lambda kind: kind.name)
def test_the_login_leads_back_to_every_list(stranger: FlaskClient, kind: ListKind) -> None:
    """What keeps people inside keeps nobody from a page."""
    path = f"/console/{kind.name}?limit=5&title=%2e%2e%2f"
    assert log_in(stranger, READ, next=path).location == path


def test_a_link_from_elsewhere_needs_no_second_login(stranger: FlaskClient) -> None:
    """A strict cookie stays at home then: a page of ours asks again, and brings it along."""
    response = stranger.get("/console/links?title=a", headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 200
    assert 'content="0; url=/console/links?title=a"' in response.text
    assert stranger.get("/console/", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 302


def test_without_a_token_set_the_console_says_what_to_set(make_settings: MakeSettings) -> None:
    """503, on every page; and no token of any kind opens it."""
    app = create_app(make_settings())
    client = app.test_client()
    for path in ("/console/", *(f"/console/{kind.name}" for kind in LISTS), "/console/login"):
        response = client.get(path)
        assert response.status_code == 503, path
        assert "OPS_READ_TOKENS" in response.text
    assert log_in(client, "").status_code == 503
    assert log_in(client, WRITE).status_code == 503
    resources_of(app).close()


def test_another_sites_login_form_is_refused(stranger: FlaskClient) -> None:
    """It would put people under a token of its own choice."""
    response = stranger.post(
        "/console/login", data={"token": READ}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert response.status_code == 403
    assert "Set-Cookie" not in response.headers


# Everything else wants a token: a route that is added is closed, or is a decision made here.
OPEN = {
    ("POST", "/webhooks/recall"),
    ("GET", "/"),
    ("GET", "/api/openapi.json"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/console/login"),
    ("POST", "/console/login"),
    ("GET", "/console/static/<path:filename>"),
}


def test_only_the_listed_routes_are_open_to_all(app: Flask, stranger: FlaskClient) -> None:
    """API, metrics, console: every method of every rule, without a token and with a wrong one."""
    routes = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        # The receiver answers every method, and all but one with 405.
        if rule.rule != "/webhooks/recall" or method == "POST"
    }
    assert routes >= OPEN
    closed = routes - OPEN
    assert len(closed) >= 20
    for method, rule in closed:
        path = re.sub("<[^>]+>", "x", rule)
        for headers in ({}, {"Authorization": "Bearer wrong-token-0123456789"}):
            response = stranger.open(path, method=method, headers=headers)
            is_page = path.startswith("/console") and method == "GET"
            assert response.status_code == (302 if is_page else 401), (method, rule)
            assert not is_page or response.location.startswith("/console/login"), rule


def test_a_database_that_is_away_is_a_page_that_says_so(tmp_path: Path) -> None:
    """503 and when to come again, for a person."""
    app = create_app(console_settings(tmp_path / "nowhere" / "no.db"))
    client = app.test_client()
    log_in(client, READ)
    response = client.get("/console/")
    assert (response.status_code, response.mimetype) == (503, "text/html")
    assert response.headers["Retry-After"] == "5"
    assert "does not answer" in response.text
    resources_of(app).close()


def test_an_empty_database_has_pages_too(reader: FlaskClient) -> None:
    """Each says that nothing is there, and none fails."""
    for path in ("/console/", *(f"/console/{kind.name}" for kind in LISTS)):
        response = reader.get(path)
        assert response.status_code == 200, path
    assert "No rejected requests." in reader.get("/console/rejections").text
    assert "No results match" in reader.get("/console/links?title=x").text
