"""Putting bots back from the console, on both databases: preview, change, result, audit."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from models.queries.registry import LISTS
from models.tables.audit import Audit
from models.tables.bot import Bot
from tests.support.bulk_data import bot_id
from tests.support.console_client import WRITE, form_token, logged_in, post
from tests.support.demo_data import GIVEN_UP, RETRIED, furnish
from tests.support.rows import bot_row, rows
from webhook.web.auth import BEARER

PAGES = [
    "/console/",
    *(f"/console/{kind.name}?limit=5" for kind in LISTS),
    f"/console/bots/{RETRIED}",
    "/console/relink?link_state=failed",
]


@pytest.fixture
def busy(engine: Engine) -> Engine:
    """A database with a day of work in it."""
    furnish(engine, bots=60)
    return engine


def test_a_read_session_sees_no_button_and_changes_nothing(
    reader: FlaskClient, busy: Engine
) -> None:
    """403 also when it sends the form by hand."""
    for path in (
        "/console/bots?link_state=failed",
        f"/console/bots/{GIVEN_UP}",
        "/console/relink?link_state=failed",
    ):
        html = reader.get(path).text
        assert 'action="/console/relink"><button' not in html
        assert "Retry linking …" not in html
        assert "Retry selected" not in html
        assert '<button class="main">Retry' not in html
        assert 'type="checkbox" name="bot_ids"' not in html
    response = post(reader, "/console/relink", bot_ids=GIVEN_UP, confirm="1")
    assert response.status_code == 403
    assert bot_row(busy, GIVEN_UP).link_state == "failed"


def test_one_bot_is_previewed_put_back_and_audited(writer: FlaskClient, busy: Engine) -> None:
    """The preview changes nothing; the audit names the bot and who did it."""
    preview = post(writer, "/console/relink", bot_ids=GIVEN_UP)
    assert preview.status_code == 200
    assert "Retry 1 bot" in preview.text
    assert GIVEN_UP[:8] in preview.text
    assert bot_row(busy, GIVEN_UP).link_state == "failed"
    response = post(writer, "/console/relink", bot_ids=GIVEN_UP, confirm="1")
    assert response.status_code == 303
    assert bot_row(busy, GIVEN_UP).link_state == "pending"
    result = writer.get(response.location).text
    assert "1 bot queued for retry" in result
    newest = rows(busy, Audit)[-1]
    assert (newest.action, newest.subject) == ("relink", GIVEN_UP)
    assert newest.actor in result
    assert newest.actor in writer.get("/console/audit").text


def test_all_that_match_are_put_back_staggered_with_a_count(
    writer: FlaskClient, busy: Engine
) -> None:
    """A count and a sample first; then as many as were counted, four a second."""
    failed = len(rows(busy, Bot, link_state="failed"))
    preview = writer.get("/console/relink?link_state=failed")
    assert f"Retry {failed} bots" in preview.text
    assert rows(busy, Bot, link_state="failed")
    response = post(writer, "/console/relink", link_state="failed", confirm="1")
    assert f"{failed} bots queued for retry" in writer.get(response.location).text
    assert rows(busy, Bot, link_state="failed") == []
    details = rows(busy, Audit)[-1].details
    assert details == {"asked": {"link_state": "failed"}, "relinked": failed, "batch": 2}
    due = sorted(row.due_at for row in rows(busy, Bot, link_state="pending") if row.id != RETRIED)
    assert (due[-1] - due[0]).total_seconds() == pytest.approx((failed - 1) / 4, abs=0.2)


def test_a_chosen_few_are_put_back(writer: FlaskClient, busy: Engine) -> None:
    """The boxes of a list, many under one name."""
    chosen = [bot_id(3), bot_id(53)]
    preview = post(writer, "/console/relink", bot_ids=chosen)
    assert re.findall(r'name="bot_ids" value="([^"]+)"', preview.text) == chosen
    response = post(writer, "/console/relink", bot_ids=chosen, confirm="1")
    assert "2 bots queued for retry" in writer.get(response.location).text


def test_the_bots_of_one_cause_are_previewed_from_the_page_of_failures(
    writer: FlaskClient, reader: FlaskClient, busy: Engine
) -> None:
    """As many as the page counts, none of them without meetings; a read token is not offered it."""
    failing = [row for row in rows(busy, Bot) if row.link_state in ("failed", "partial")]
    wanted = {row.id for row in failing if (row.last_error or "").startswith("bot_not_found")}
    html = writer.get("/console/failures").text
    (retry,) = re.findall(r'href="(/console/relink\?[^"]*bot_not_found)"', html)
    assert f"Retry {len(wanted)} bots" in writer.get(unescape(retry)).text
    assert "Retry these" not in reader.get("/console/failures").text
    all_that_match = writer.get("/console/relink?link_state=failing").text
    assert f"Retry {len(failing) + 1} bots" in all_that_match


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Select some bots first"),
        ({"link_state": "odd"}, "link_state"),
        ({"bot_ids": "7"}, "bot_ids"),
        ({"everything": "1"}, "everything"),
    ],
)
def test_no_careless_form_puts_everything_back(
    writer: FlaskClient, busy: Engine, fields: dict[str, str], words: str
) -> None:
    """Neither the preview nor the change."""
    before = len(rows(busy, Audit))
    for more in ({}, {"confirm": "1"}):
        response = post(writer, "/console/relink", **fields, **more)
        assert response.status_code == 400
        assert words in response.text or "bot_ids or a filter" in response.text
    assert len(rows(busy, Audit)) == before


def test_nothing_changes_on_get(writer: FlaskClient, busy: Engine) -> None:
    """Whatever the address says."""
    before = len(rows(busy, Audit))
    for path in PAGES:
        joint = "&" if "?" in path else "?"
        writer.get(f"{path}{joint}confirm=1")
    assert writer.get(f"/console/relink?bot_ids={GIVEN_UP}&confirm=1").status_code == 200
    assert writer.get("/console/logout").status_code == 404
    assert bot_row(busy, GIVEN_UP).link_state == "failed"
    assert len(rows(busy, Audit)) == before


def test_a_form_that_is_not_ours_changes_nothing(
    app: Flask, writer: FlaskClient, busy: Engine
) -> None:
    """No token of the form, another session's, or a request from another site."""
    fields = {"bot_ids": GIVEN_UP, "confirm": "1"}
    others = form_token(logged_in(app, WRITE))
    own = form_token(writer)
    for more, headers in (
        ({}, {}),
        ({"form_token": "x"}, {}),
        ({"form_token": others}, {}),
        ({"form_token": own}, {"Sec-Fetch-Site": "cross-site"}),
        ({"form_token": own}, {"Sec-Fetch-Site": "same-site"}),
    ):
        response = writer.post("/console/relink", data=fields | more, headers=headers)
        assert response.status_code == 403
        assert response.mimetype == "text/html"
    assert bot_row(busy, GIVEN_UP).link_state == "failed"


def test_the_api_takes_a_cookie_for_reading_alone(writer: FlaskClient, busy: Engine) -> None:
    """A script changes with a bearer token, which no other site can make a browser send."""
    assert writer.get("/api/links").status_code == 200
    assert writer.get("/metrics").status_code == 200
    response = writer.post(f"/api/bots/{GIVEN_UP}/relink", json={})
    assert response.status_code == 403
    bearer = {"Authorization": BEARER + WRITE}
    response = writer.post(f"/api/bots/{GIVEN_UP}/relink", headers=bearer)
    assert response.status_code == 202


def test_every_page_is_read_from_either_database(reader: FlaskClient, busy: Engine) -> None:
    """PostgreSQL and SQLite: the reads are the API's, the audit's are tried here."""
    for path in PAGES:
        assert reader.get(path).status_code == 200, path
    subject = reader.get("/api/audit", query_string={"subject": GIVEN_UP, "limit": 1}).get_json()
    assert [row["subject"] for row in subject["items"]] == [GIVEN_UP]
    page = reader.get("/api/audit?limit=1").get_json()
    rest = reader.get("/api/audit", query_string={"cursor": page["next"]}).get_json()
    assert len(page["items"] + rest["items"]) == 2
    assert reader.get("/api/audit?until=2020-01-01").get_json()["items"] == []
    assert '"{""asked"": {""link_state"": ""failed""}' in reader.get("/api/audit?format=csv").text


def test_a_relative_time_is_confirmed_as_it_was_previewed(
    writer: FlaskClient, busy: Engine
) -> None:
    """The form has the moment itself: the hour before the click would be another."""
    assert rows(busy, Bot, link_state="failed")
    html = writer.get("/console/relink?link_state=failed&since=-1h").text
    (moment,) = re.findall(r'name="since" value="([^"]+)"', html)
    ago = datetime.now(UTC) - datetime.fromisoformat(moment)
    assert timedelta(hours=1) <= ago < timedelta(hours=1, minutes=5)
    assert writer.get("/console/relink?since=-1h&metadata.deal=none").status_code == 200
