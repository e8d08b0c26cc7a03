"""What holds for every route: who may change something by it, and what keeps its answer."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import Engine
from werkzeug.routing import Rule

from models.tables.audit import Audit
from tests.conftest import MakeSettings
from tests.lab.recall import FakeRecall
from tests.support.bulk_data import an_id
from tests.support.calendar_app import calendar_settings
from tests.support.console_client import COOKIE, READ, WRITE, form_token, logged_in, post
from tests.support.rows import add_bot, bot_row, rows
from webhook.app import create_app, resources_of
from webhook.web.auth import BEARER, SAFE_METHODS

BOT = an_id(9, 1)
OTHER = "other-token-0123456789"
VALUES = {"bot_id": BOT, "platform": "google", "filename": "console.css"}


@pytest.fixture
def whole_app(make_settings: MakeSettings, recall: FakeRecall) -> Iterator[Flask]:
    """The application with every part configured, so that every route is there."""
    tokens = {"OPS_READ_TOKENS": READ, "OPS_WRITE_TOKENS": WRITE}
    app = create_app(make_settings(**calendar_settings(recall, **tokens)))
    yield app
    resources_of(app).close()


def rules(app: Flask) -> list[Rule]:
    """Every route, the pages' style and script left out: those are for caches."""
    return [one for one in app.url_map.iter_rules() if not one.endpoint.endswith(".static")]


def path_of(rule: Rule) -> str:
    """An address that the route answers, about something that may exist."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: VALUES.get(found[1], "x"), rule.rule)


@pytest.mark.parametrize("token", [None, READ, WRITE])
def test_no_cache_keeps_an_answer_of_any_route(whole_app: Flask, token: str | None) -> None:
    """By every method, to whoever may ask and to whoever may not; addresses of nothing as well."""
    client = whole_app.test_client()
    headers = {"Authorization": BEARER + token} if token else {}
    asked = [(path_of(rule), method) for rule in rules(whole_app) for method in rule.methods or ()]
    assert ("/metrics", "GET") in asked
    for path, method in [*asked, ("/nowhere", "GET"), ("/console/static/none.css", "GET")]:
        with client.open(path, method=method, headers=headers) as answer:
            assert answer.headers.getlist("Cache-Control") == ["no-store"], (method, path)


def test_no_route_of_the_api_changes_anything_by_the_cookie(
    app: Flask, writer: FlaskClient, engine: Engine
) -> None:
    """Also with the token of a page's form, however it is sent; a bearer token is let through."""
    add_bot(engine, BOT, link_state="failed", due_at=None)
    own = form_token(writer)
    changing = [
        (path_of(rule), method)
        for rule in rules(app)
        for method in (rule.methods or set()) - SAFE_METHODS - {"OPTIONS"}
        if rule.rule.startswith("/api")
    ]
    assert (f"/api/bots/{BOT}/relink", "POST") in changing
    body = {"bot_ids": [BOT], "form_token": own}
    for path, method in changing:
        sent = (
            {"data": {"form_token": own, "bot_ids": BOT}},
            {"json": body},
            {"json": body, "query_string": {"form_token": own}},
        )
        for one in sent:
            answer = writer.open(path, method=method, **one)
            assert (answer.status_code, answer.mimetype) == (403, "application/problem+json"), path
    assert bot_row(engine, BOT).link_state == "failed"
    assert rows(engine, Audit) == []
    bearer = {"Authorization": BEARER + WRITE}
    for path, method in changing:
        answer = writer.open(path, method=method, json={}, headers=bearer)
        assert answer.status_code not in (401, 403), path


def test_the_audit_names_whoever_holds_a_named_token(
    make_settings: MakeSettings, engine: Engine
) -> None:
    """By bearer token or by cookie, with or without the name before it; the list is asked by it."""
    add_bot(engine, BOT, link_state="failed", due_at=None)
    settings = make_settings(OPS_READ_TOKENS=READ, OPS_WRITE_TOKENS=f"ann:{WRITE}, b.o-b:{OTHER}")
    app = create_app(settings)
    for token in (WRITE, f"ann:{WRITE}", OTHER):
        headers = {"Authorization": BEARER + token}
        path = f"/api/bots/{BOT}/relink"
        assert app.test_client().post(path, headers=headers).status_code == 202
    page = logged_in(app, OTHER)
    assert '<span class="who-name" title="Name or fingerprint of your token">b.o-b' in (
        page.get("/console/").text
    )
    assert post(page, "/console/relink", bot_ids=BOT, confirm="1").status_code == 303
    assert [row.actor for row in rows(engine, Audit)] == ["ann", "ann", "b.o-b", "b.o-b"]
    reader = {"Authorization": BEARER + READ}
    listed = app.test_client().get("/api/audit?actor=ann&action=relink", headers=reader)
    assert [row["actor"] for row in listed.get_json()["items"]] == ["ann", "ann"]
    shown = page.get("/console/audit?actor=b.o-b").text
    assert shown.count("/console/audit?actor=b.o-b") == 2
    assert "/console/audit?actor=ann" not in shown
    for wrong in (f"bob:{WRITE}", "ann:", "ann"):
        refused = app.test_client().get("/api/audit", headers={"Authorization": BEARER + wrong})
        assert refused.status_code == 401
        assert "none of OPS_READ_TOKENS or OPS_WRITE_TOKENS" in refused.get_json()["detail"]
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    resources_of(app).close()


def test_a_page_holds_nothing_of_the_session(writer: FlaskClient) -> None:
    """Its form token is bound to the cookie by a hash: a saved page opens no session."""
    cookie = writer.get_cookie(COOKIE)
    assert cookie
    page = writer.get("/console/audit").text
    told = form_token(writer)
    _, inside = URLSafeTimedSerializer("any").loads_unsafe(told)
    assert inside
    # Its second part is a time, which others share.
    for part in (cookie.value, cookie.value.split(".")[0], cookie.value.split(".")[2]):
        assert part not in page
        assert part not in str(inside)
    for found in (told, str(inside)):
        writer.set_cookie(COOKIE, found)
        assert writer.get("/console/").status_code == 302
