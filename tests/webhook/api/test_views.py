"""The JSON and CSV API: who may ask, what each list answers, and what relinking does."""

import csv
import io
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance
from sqlalchemy import Engine, insert, text, update
from werkzeug.test import TestResponse

from models.core.title_words import title_columns
from models.queries.registry import LISTS
from models.queries.views import BOT_LINKS
from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from tests.conftest import FULL, MakeSettings
from tests.support.bulk_data import bot_id, meeting_id
from tests.support.console_client import READ, WRITE
from tests.support.fakes import BOT
from tests.support.rows import add_bot, add_delivery, bot_row, later, rows
from webhook.app import create_app, resources_of
from webhook.web.auth import BEARER


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of it."""
    return app.test_client()


def get(client: FlaskClient, path: str, token: str = READ, **query: Any) -> TestResponse:
    """Ask with a token."""
    headers = {"Authorization": BEARER + token}
    words = urlencode(query, errors="surrogatepass")
    return client.get(f"{path}?{words}", headers=headers)


def items(client: FlaskClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """The rows of a first page."""
    response = get(client, path, **query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.get_json()["items"]
    return found


def post(client: FlaskClient, path: str, body: object = None, token: str = WRITE) -> TestResponse:
    """Change with a token."""
    return client.post(path, json=body, headers={"Authorization": BEARER + token})


# -- who may ask ---------------------------------------------------------------


def ops_routes(app: Flask) -> Iterator[tuple[str, str]]:
    """Every route that operators use, with each of its methods."""
    open_to_all = {"/", "/webhooks/recall", "/healthz", "/readyz", "/api/openapi.json"}
    for rule in app.url_map.iter_rules():
        is_login = rule.rule.startswith(("/console/login", "/console/static"))
        if rule.rule not in open_to_all and not is_login:
            for method in (rule.methods or set()) - {"OPTIONS"}:
                yield method, rule.rule.replace("<bot_id>", BOT).replace("<name>", "links")


def test_every_ops_route_asks_for_a_token(app: Flask, client: FlaskClient) -> None:
    """None is forgotten: missing or wrong is 401, and says how to ask."""
    routes = list(ops_routes(app))
    assert len(routes) >= 9
    for method, path in routes:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {READ}"}):
            response = client.open(path, method=method, headers=headers)
            is_page = path.startswith("/console")
            assert response.status_code == (302 if is_page and method in "GET HEAD" else 401), path
            if not is_page:
                assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_read_token_changes_nothing(app: Flask, client: FlaskClient) -> None:
    """403, on every route that changes."""
    changing = [path for method, path in ops_routes(app) if method == "POST"]
    assert len(changing) >= 2
    for path in changing:
        assert post(client, path, {}, token=READ).status_code == 403


def test_without_tokens_the_routes_are_closed(make_settings: MakeSettings) -> None:
    """503, not open."""
    app = create_app(make_settings())
    assert get(app.test_client(), "/api/links").status_code == 503
    resources_of(app).close()


def test_a_write_token_reads_as_well(client: FlaskClient) -> None:
    """Write includes read."""
    assert get(client, "/api/links", token=WRITE).status_code == 200


# -- lists ---------------------------------------------------------------------


def test_the_newest_link_comes_first_with_every_column_of_the_view(
    client: FlaskClient, full: Engine
) -> None:
    """And no other."""
    found = items(client, "/api/links")
    assert list(found[0]) == [column.name for column in BOT_LINKS.columns]
    assert len(found) == 100
    linked_at = [row["linked_at"] for row in found]
    assert linked_at == sorted(linked_at, reverse=True)


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ({"bot_id": bot_id(20)}, lambda row: row["bot_id"] == bot_id(20)),
        ({"bot_id": bot_id(20).upper()}, lambda row: row["bot_id"] == bot_id(20)),
        ({"meeting_id": meeting_id(20)}, lambda row: row["meeting_id"] == meeting_id(20)),
        ({"external_id": "person-00006"}, lambda row: row["external_id"] == "person-00006"),
        (
            {"email": "PERSON-00006@north.example"},
            lambda row: row["organizer_email"] == "person-00006@north.example",
        ),
        ({"title": "SYNC roadmap"}, lambda row: row["meeting_title"].startswith("Roadmap sync")),
        ({"ical_uid": "00000014@calendar.example"}, lambda row: row["bot_id"] == bot_id(20)),
        ({"status": "fatal"}, lambda row: row["bot_status"] == "fatal"),
        ({"link_state": "partial"}, lambda row: row["meeting_state"] == "owed"),
        ({"platform": "zoom"}, lambda row: row["meeting_platform"] == "zoom"),
        ({"current": 1}, lambda row: row["ended_at"] is None),
        (
            {"since": later(6000).isoformat(), "until": later(9000).isoformat()},
            lambda row: later(6000).isoformat() <= row["meeting_start"] < later(9000).isoformat(),
        ),
    ],
)
def test_a_filter_holds_for_every_row(
    client: FlaskClient, full: Engine, query: dict[str, Any], holds: Callable[[Any], bool]
) -> None:
    """And finds what it should: not less than a plain look through all rows does."""
    every = items(client, "/api/links", limit=500)
    found = items(client, "/api/links", limit=500, **query)
    assert found
    assert {row["bot_id"] for row in found} == {row["bot_id"] for row in every if holds(row)}


def _next(client: FlaskClient, **query: Any) -> str:
    found: str = get(client, "/api/links", **query).get_json()["next"]
    return found


def test_guests_are_found_as_organisers_are(client: FlaskClient, full: Engine) -> None:
    """By the address, in any case."""
    with full.connect() as connection:
        guest, meeting = connection.execute(
            text("SELECT email, meeting_id FROM meeting_people WHERE email LIKE 'guest%'")
        ).first() or ("", "")
    found = items(client, "/api/links", email=guest.upper())
    assert meeting in {row["meeting_id"] for row in found}


@pytest.mark.parametrize("words", ['"', "' OR 1=1 --", "(", "a AND", "NEAR(", "*", "title:x", "%"])
def test_words_are_words_whatever_they_look_like(
    client: FlaskClient, full: Engine, words: str
) -> None:
    """No search language, no wildcard, no error."""
    assert items(client, "/api/links", title=words) == []


@pytest.mark.parametrize("kind", LISTS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("limit", [7, 100])
def test_pages_hold_every_row_once(
    client: FlaskClient, full: Engine, kind: Any, limit: int
) -> None:
    """By cursor to the end; and the same as the CSV."""
    seen: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = get(client, f"/api/{kind.name}", limit=limit, cursor=cursor).get_json()
        seen += page["items"]
        cursor = page["next"]
    lines = list(csv.reader(io.StringIO(get(client, f"/api/{kind.name}", format="csv").text)))
    assert len(seen) == len(lines) - 1
    if seen:
        assert lines[0] == list(seen[0])
        assert [line[0] for line in lines[1:]] == [str(next(iter(row.values()))) for row in seen]


@pytest.mark.parametrize("query", [{}, {"since": "2020-01-01"}, {"external_id": "person-00003"}])
def test_a_cursor_survives_rows_that_come_meanwhile(
    client: FlaskClient, full: Engine, query: dict[str, Any]
) -> None:
    """New ones come before the first page: nothing is shown twice, nothing is left out."""
    before = {row["bot_id"] for row in items(client, "/api/links", limit=500, **query)}
    page = get(client, "/api/links", limit=2, **query).get_json()
    seen = [row["bot_id"] for row in page["items"]]
    number = FULL
    while page["next"]:
        number += 1
        _copy_newest_link(full, bot_id(number))
        page = get(client, "/api/links", limit=50, cursor=page["next"], **query).get_json()
        seen += [row["bot_id"] for row in page["items"]]
    assert len(seen) == len(set(seen))
    assert before <= set(seen)


def _copy_newest_link(engine: Engine, bot: str) -> None:
    add_bot(engine, bot)
    newest = rows(engine, Link)[0]._asdict() | {"bot_id": bot, "linked_at": later(9e6)}
    with engine.begin() as connection:
        connection.execute(insert(Link).values(newest))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": "abc"}, "limit"),
        ({"limit": "1e9"}, "limit"),
        ({"bot_id": "' OR 1=1"}, "bot_id"),
        ({"meeting_id": "7"}, "meeting_id"),
        ({"since": "someday"}, "since"),
        ({"since": "-1y"}, "since"),
        ({"until": "5"}, "until"),
        ({"link_state": "maybe"}, "link_state"),
        ({"current": "perhaps"}, "current"),
        ({"cursor": "tampered"}, "cursor"),
        ({"format": "xml"}, "format"),
        ({"sort": "created_at;drop"}, "sort"),
        # No column could hold these, so that the database would refuse the question itself.
        ({"title": "a\0b"}, "title"),
        ({"email": "a@b\0"}, "email"),
        ({"external_id": "\0"}, "external_id"),
        ({"ical_uid": "x\0"}, "ical_uid"),
        ({"status": "done\0"}, "status"),
        ({"platform": "\0"}, "platform"),
        ({"cursor": "a\0.b.c"}, "cursor"),
        ({"cursor": "\ud800"}, "cursor"),
        ({"title": "x" * 1001}, "title"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"until": "9999-12-31T23:59:59-14:00"}, "until"),
        ({"\0": "1"}, "\0"),
    ],
)
def test_a_bad_parameter_is_400_and_named(
    client: FlaskClient, query: dict[str, Any], parameter: str
) -> None:
    """As a problem document."""
    response = get(client, "/api/links", **query)
    assert (response.status_code, response.mimetype) == (400, "application/problem+json")
    found = response.get_json()
    assert found["parameter"] == parameter
    assert found["detail"].startswith(f"{parameter}: ")


def test_a_parameter_given_twice_is_refused(client: FlaskClient) -> None:
    """Which of the two would be a guess."""
    headers = {"Authorization": BEARER + READ}
    response = client.get("/api/links?limit=1&limit=2", headers=headers)
    assert (response.status_code, response.get_json()["parameter"]) == (400, "limit")


def test_a_cursor_of_another_list_or_key_is_refused(
    client: FlaskClient, full: Engine, make_settings: MakeSettings
) -> None:
    """It is signed, and names its list."""
    cursor = _next(client, limit=5)
    assert get(client, "/api/bots", cursor=cursor).status_code == 400
    assert get(client, "/api/links", cursor=cursor, since="2020-01-01").status_code == 400
    rotated = create_app(make_settings(OPS_READ_TOKENS=f"{READ},another-token-9876"))
    assert get(rotated.test_client(), "/api/links", cursor=cursor).status_code == 400
    resources_of(rotated).close()


# -- CSV -----------------------------------------------------------------------


def test_csv_is_had_by_accept_or_by_format(client: FlaskClient, full: Engine) -> None:
    """As an attachment, and whole."""
    by_format = get(client, "/api/links", format="csv", external_id="person-00003")
    headers = {"Authorization": BEARER + READ, "Accept": "text/csv"}
    by_accept = client.get("/api/links?external_id=person-00003", headers=headers)
    assert by_format.text == by_accept.text
    assert by_format.mimetype == "text/csv"
    assert "attachment" in by_format.headers["Content-Disposition"]


@pytest.mark.parametrize("title", ["=HYPERLINK(1)", "@SUM(1)", "+1", "-1", "\t=1", "\r=1", "\n=1"])
def test_a_title_that_is_a_formula_is_text_in_csv(
    client: FlaskClient, full: Engine, title: str
) -> None:
    """Anybody can invite a bot to a meeting of any title."""
    with full.begin() as connection:
        connection.execute(update(CalendarMeeting).values(title_columns(title)))
    response = get(client, "/api/links", format="csv")
    (_, first, *_) = csv.reader(io.StringIO(response.text, newline=""))
    assert f"'{title}" in first


MULTIPLY = """
INSERT INTO deliveries (id, event, outcome, body, received_at, last_received_at, scheme,
                        secret_fingerprint, copies)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
SELECT id || '-' || i, event, 'ignored', body, received_at, last_received_at, scheme,
       secret_fingerprint, 1
FROM deliveries, n
"""


def test_thirty_thousand_rows_stream_in_flat_memory(full: Engine, app: Flask) -> None:
    """Thirty times the rows take no more memory than a page does."""
    peaks, lines = [], []
    for is_grown in (False, True):
        if is_grown:
            with full.begin() as connection:
                connection.execute(text(MULTIPLY))
        tracemalloc.start()
        headers = {"Authorization": BEARER + READ}
        path = "/api/deliveries?format=csv"
        response = app.test_client().get(path, headers=headers, buffered=False)
        lines.append(sum(chunk.count(b"\r\n") for chunk in response.iter_encoded()))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        response.close()
    assert lines[1] > 30_000
    assert peaks[1] < 2 * peaks[0]


# -- one bot, and the whole ----------------------------------------------------


def test_a_bot_is_explained_whole(client: FlaskClient, full: Engine) -> None:
    """Statuses, deliveries, attempts with each call, links, and one sentence."""
    found = get(client, f"/api/bots/{bot_id(20).upper()}").get_json()
    assert list(found) == [
        *("bot", "why", "statuses", "deliveries", "attempts", "links", "same_meeting"),
        *("events", "recordings"),
    ]
    assert found["why"] == "Linked to 1 meeting. The bot recorded for 28 min."
    assert [status["code"] for status in found["statuses"]] == ["joining_call", "done"]
    assert [row["code"] for row in found["deliveries"]] == ["joining_call", "done"]
    assert found["attempts"][0]["calls"][0] == {
        "method": "GET",
        "path": "bot/{id}",
        "about": None,
        "status": 200,
        "ms": 31,
        "error": None,
    }


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (5, "Not linked, and this is final: Recall lists no calendar meeting for this bot."),
        (41, "Linked to 1 meeting, but without details: 1 is deleted at Recall (404)."),
    ],
)
def test_why_is_one_plain_sentence(
    client: FlaskClient, full: Engine, number: int, why: str
) -> None:
    """It says what an operator would ask next."""
    assert (
        get(client, f"/api/bots/{bot_id(number)}").get_json()["why"]
        == f"{why} The bot recorded for 28 min."
    )


def test_why_tells_of_the_next_try(client: FlaskClient, engine: Engine) -> None:
    """And of the last error."""
    add_bot(engine, BOT, last_error="http_503: bot/{id}", due_at=db_now(600))
    why = get(client, f"/api/bots/{BOT}").get_json()["why"]
    assert why.startswith("Not linked yet: Recall had an internal error (http_503: bot/{id}); ")
    assert why.endswith("the next attempt is in 10 min.")


def test_an_unknown_bot_is_404_and_a_wrong_id_400(client: FlaskClient) -> None:
    """Both as problem documents."""
    for method in (get, post):
        path = f"/api/bots/{BOT}" + ("/relink" if method is post else "")
        response = method(client, path)
        assert (response.status_code, response.mimetype) == (404, "application/problem+json")
        response = method(client, path.replace(BOT, "x"))
        assert (response.status_code, response.get_json()["parameter"]) == (400, "bot_id")


def test_status_tells_backlog_age_and_what_is_wrong(client: FlaskClient, engine: Engine) -> None:
    """Unapplied and due work, how old the oldest is, and the alarm that no worker runs."""
    add_delivery(engine, BOT, "done", received_at=db_now(-600))
    add_bot(engine, BOT, due_at=db_now(-400))
    found = get(client, "/api/status").get_json()
    backlog = found["backlog"]
    assert (backlog["unapplied"], backlog["due"], backlog["pending"]) == (1, 1, 1)
    assert 595 < backlog["oldest_unapplied_seconds"] < 700
    assert 395 < backlog["oldest_due_seconds"] < 500
    assert found["circuit"]["open_for"] == 0
    assert {alarm["name"] for alarm in found["alarms"]} == {"no_worker", "stalled"}
    assert all(alarm["remedy"] for alarm in found["alarms"])


# -- relink --------------------------------------------------------------------


def test_one_bot_is_put_back_whole(client: FlaskClient, full: Engine) -> None:
    """Due now, its meetings owed, its failure forgotten, and the audit knows who."""
    assert post(client, f"/api/bots/{bot_id(3)}/relink").status_code == 202
    assert post(client, f"/api/bots/{bot_id(20)}/relink").status_code == 202
    failed, linked = bot_row(full, bot_id(3)), bot_row(full, bot_id(20))
    assert (failed.link_state, failed.attempts, failed.due_seq) == ("pending", 0, 3)
    assert failed.due_at == failed.owed_since
    assert linked.link_state == "linked"
    (meeting,) = rows(full, CalendarMeeting, id=meeting_id(20))
    assert (meeting.state, meeting.reason) == ("owed", "relink")
    audits = rows(full, Audit)
    assert [(row.action, row.subject) for row in audits] == [
        ("relink", bot_id(3)),
        ("relink", bot_id(20)),
    ]
    assert audits[0].actor.startswith("token ")
    assert WRITE not in str(audits)


def test_a_preview_counts_and_shows_and_changes_nothing(client: FlaskClient, full: Engine) -> None:
    """What putting back would touch."""
    response = post(client, "/api/relink", {"link_state": "failed", "preview": True})
    assert response.status_code == 200
    found = response.get_json()
    assert (found["count"], found["is_more"]) == (10, False)
    assert len(found["sample"]) == 10
    assert {row["link_state"] for row in found["sample"]} == {"failed"}
    assert rows(full, Audit) == []
    assert len(rows(full, Bot, link_state="failed")) == 10


def test_a_filter_is_put_back_staggered(client: FlaskClient, full: Engine) -> None:
    """Four a second, so that new bots are linked between them."""
    found = post(client, "/api/relink", {"link_state": "failed"})
    assert (found.status_code, found.get_json()) == (
        202,
        {"relinked": 10, "over_seconds": 2.5, "is_more": False, "batch": 1},
    )
    due = sorted(row.due_at for row in rows(full, Bot, link_state="pending"))
    assert len(due) == 10
    assert 2 < (due[-1] - due[0]).total_seconds() < 20
    (audit,) = rows(full, Audit)
    assert audit.details == {"asked": {"link_state": "failed"}, "relinked": 10, "batch": 1}


def test_forty_bots_are_put_back_by_their_ids(client: FlaskClient, full: Engine) -> None:
    """In any case of letters; an unknown one among them harms nobody."""
    wanted = [bot_id(number).upper() for number in range(40)] + [BOT]
    assert post(client, "/api/relink", {"bot_ids": wanted}).get_json()["relinked"] == 40


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "body"),
        ({"preview": True}, "body"),
        ([], "body"),
        ({"bot_ids": []}, "bot_ids"),
        ({"bot_ids": ["x"]}, "bot_ids"),
        ({"link_state": "odd"}, "link_state"),
        ({"everything": True}, "everything"),
        ({"status": "a\0"}, "status"),
        ({"status": "\ud800"}, "status"),
        ({"bot_ids": ["\0"]}, "bot_ids"),
        ({"link_state": "failed", "since": 5}, "since"),
    ],
)
def test_no_careless_request_puts_everything_back(
    client: FlaskClient, full: Engine, body: Any, parameter: str
) -> None:
    """A filter or ids must be named."""
    response = post(client, "/api/relink", body)
    assert (response.status_code, response.get_json()["parameter"]) == (400, parameter)
    assert rows(full, Audit) == []


def test_a_body_that_is_no_json_is_refused_however_deep(client: FlaskClient) -> None:
    """As a bad body, and not as our error."""
    headers = {"Authorization": BEARER + WRITE, "Content-Type": "application/json"}
    for body in (b"{", b"[" * 50_000, b"\xff", b'{"preview": NaN}', b""):
        response = client.post("/api/relink", data=body, headers=headers)
        assert response.status_code == 400, body[:20]
        assert response.get_json()["parameter"] in ("body", "preview")


def test_json_sent_as_a_form_is_told_the_content_type(client: FlaskClient) -> None:
    """As curl sends it by default: the body is an object, so only the header is wrong."""
    body, headers = b'{"link_state": "failed"}', {"Authorization": BEARER + WRITE}
    for kind in ("application/x-www-form-urlencoded", "text/plain"):
        response = client.post("/api/relink", data=body, headers=headers, content_type=kind)
        assert response.status_code == 400
        assert "Content-Type: application/json" in response.get_json()["detail"]


def test_a_path_that_no_column_can_hold_is_400(client: FlaskClient) -> None:
    """Also where it is not even text."""
    for path in ("%00", "%ff", "%ed%a0%80", BOT + "%00", BOT + "%0a"):
        response = get(client, f"/api/bots/{path}")
        assert (response.status_code, response.get_json()["parameter"]) == (400, "bot_id"), path


def test_extreme_times_are_times(client: FlaskClient, full: Engine) -> None:
    """The first and the last there are."""
    assert items(client, "/api/links", since="0001-01-01T00:00:00Z", limit=1)
    assert items(client, "/api/links", until="9999-12-31T23:59:59Z", limit=1)


# -- the description -----------------------------------------------------------


def test_every_route_is_described(app: Flask, client: FlaskClient) -> None:
    """And nothing that is not there."""
    described = {
        (method.upper(), path.replace("{", "<").replace("}", ">"))
        for path, methods in get(client, "/api/openapi.json").get_json()["paths"].items()
        for method in methods
    }
    there = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}
    }
    assert described == there


def test_the_description_names_the_server_and_needs_no_token(make_settings: MakeSettings) -> None:
    """PUBLIC_URL, or whatever address it was fetched from; a tool reads it without a secret."""
    for public, server in (("", "/"), ("https://links.example", "https://links.example")):
        app = create_app(make_settings(OPS_READ_TOKENS=READ, PUBLIC_URL=public))
        answer = app.test_client().get("/api/openapi.json")
        assert answer.get_json()["servers"] == [{"url": server}]
        assert app.test_client().get("/api/links").status_code == 401
        resources_of(app).close()


@pytest.mark.hypothesis
def test_the_api_answers_as_its_description_says(app: Flask, full: Engine) -> None:
    """Thousands of made-up requests: no 5xx, and every answer fits its schema."""
    document = app.test_client().get("/api/openapi.json").get_json()
    schema = schemathesis.openapi.from_dict(document)
    schema.app = app
    for operation in schema.get_all_operations():
        assert isinstance(operation, Ok)
        _try_operation(operation.ok())


def _try_operation(operation: Any) -> None:
    @settings(
        max_examples=20,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def call(case: Any) -> None:
        # It asks for gzip, and does not unpack what an app in the same process answers.
        headers = {"Authorization": BEARER + WRITE, "Accept-Encoding": "identity"}
        # A cursor is opaque: what fits its schema may still be none of ours.
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

    call()
