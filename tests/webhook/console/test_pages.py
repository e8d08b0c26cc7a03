"""The console's pages: who comes in, what they show, what they change, and what they never do."""

import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, delete, insert, text, update

from models.core.engine import make_engine
from models.core.title_words import title_columns
from models.queries.registry import LISTS
from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting, CalendarUser
from models.tables.calendar_finding import CalendarFinding
from models.tables.delivery import Delivery
from models.tables.event import Event
from models.tables.link import Link, LinkAttempt
from models.tables.missed_meeting import MissedMeeting
from models.tables.reconcile_run import ReconcileRun
from models.tables.recording import Recording
from models.tables.rejection import Rejection
from tests.support.bulk_data import bot_id
from tests.support.console_client import WRITE, console_settings, logged_in
from tests.support.demo_data import RETRIED, furnish
from tests.support.fakes import BOT, START
from tests.support.rows import add_bot, add_delivery

COOKIE = "recall-links"
SECURE_COOKIE = "__Host-recall-links"
TEMPLATES = Path(__file__).parents[3] / "webhook" / "templates"
PAGES = [
    "/console/",
    *(f"/console/{kind.name}" for kind in LISTS),
    "/console/bots?link_state=failing",
    f"/console/bots/{RETRIED}",
    f"/console/bots/{bot_id(20)}",
    "/console/relink?link_state=failed",
]
# What a browser may do with a page of ours; the whole list, since a new source is a decision.
POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "script-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}


@pytest.fixture(scope="module")
def furnished_template(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """A database with a day of work in it, to copy from."""
    path = Path(shutil.copy(sqlite_template, tmp_path_factory.mktemp("furnished") / "full.db"))
    engine = make_engine(console_settings(path), "write")
    furnish(engine, bots=120)
    # The last connection to go takes what is in the log with it, into the file.
    engine.dispose()
    return path


@pytest.fixture
def database_url(furnished_template: Path, tmp_path: Path) -> str:
    """SQLite alone: the reads are the API's, whose tests try them on both."""
    return f"sqlite:///{shutil.copy(furnished_template, tmp_path / 'test.db')}"


# -- every page ------------------------------------------------------------------


def test_every_page_forbids_what_it_does_not_need(app: Flask) -> None:
    """A strict policy, no sniffing, no referrer, no frame, no copy in a cache."""
    writer = logged_in(app, WRITE)
    answers = [writer.get(path) for path in (*PAGES, "/console/nowhere", "/console/links?limit=0")]
    for response in [*answers, app.test_client().get("/console/login")]:
        headers = response.headers
        parts = headers["Content-Security-Policy"].split("; ")
        assert dict(part.split(" ", 1) for part in parts) == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"


def test_no_page_holds_inline_script_or_style_or_a_foreign_address(writer: FlaskClient) -> None:
    """No CDN, and nothing that the policy would have to allow."""
    for path in PAGES:
        html = writer.get(path).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html), path
        scripts = re.findall(r"<script[^>]*>", html)
        assert scripts == ['<script src="/console/static/console.js" defer>']
        assert not re.search(r'(?:src|href|action)="(?!/|\?|#)', html), path


def test_templates_escape_everything() -> None:
    """No |safe, no Markup, no autoescape off: what comes from outside stays text."""
    for path in TEMPLATES.rglob("*.html"):
        assert not re.search(r"\|\s*safe\b|autoescape|Markup", path.read_text()), path


def test_the_static_files_need_no_token(app: Flask) -> None:
    """The login page is to look like something; a browser may keep them, and asks anew."""
    for name in ("console.css", "console.js", "mark.svg"):
        with app.test_client().get(f"/console/static/{name}") as response:
            assert response.status_code == 200
            assert response.headers["Cache-Control"] == "no-cache"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert not re.search(rb"https?://(?!www\.w3\.org)", response.data)


def test_every_table_and_field_is_named(writer: FlaskClient) -> None:
    """Headers say what they head, fields have labels: for whoever does not see them."""
    for path in PAGES:
        html = writer.get(path).text
        assert not re.search(r"<th(?![^>]*scope=)[ >]", html), path
        for name in re.findall(r'<(?:input|select) id="([^"]+)"', html):
            assert f'<label for="{name}"' in html or f'<label class="unseen" for="{name}"' in html


HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"


def test_hostile_text_stays_text_on_every_page(writer: FlaskClient, engine: Engine) -> None:
    """Titles, names, codes, ids and errors are anybody's to choose."""
    with engine.begin() as connection:
        for table, *columns in (
            (CalendarMeeting, "organizer_email", "meeting_platform", "reason"),
            (Link, "external_id", "end_reason"),
            (Bot, "status", "sub_code", "last_error", "bot_name", "meeting_platform"),
            (Delivery, "event", "reason", "code", "sub_code", "message"),
            (Audit, "actor", "action", "subject"),
            (Recording, "status", "transcript_status", "transcript_id"),
            (MissedMeeting, "external_id", "title", "reason", "sub_code"),
            (CalendarUser, "external_id", "email"),
            (CalendarFinding, "title"),
            (Event, "type"),
            (ReconcileRun, "error", "started_by"),
        ):
            connection.execute(update(table).values(dict.fromkeys(columns, HOSTILE)))
        connection.execute(update(CalendarMeeting).values(title_columns(HOSTILE)))
        connection.execute(update(Bot).values(bot_metadata={HOSTILE: HOSTILE}))
        calls = [{"method": HOSTILE, "path": HOSTILE, "about": HOSTILE, "error": HOSTILE}]
        attempt = {"outcome": HOSTILE, "error": HOSTILE, "calls": calls}
        connection.execute(update(LinkAttempt).values(attempt))
        connection.execute(update(Audit).values(details={HOSTILE: HOSTILE}))
        connection.execute(
            text("UPDATE rejections SET reason = :h, remote_addr = :h, message_id = :h"),
            {"h": HOSTILE},
        )
        connection.execute(
            text("UPDATE bot_statuses SET sub_code = :h, message = :h"), {"h": HOSTILE}
        )
        connection.execute(
            text("UPDATE tallies SET label = :h || label WHERE name <> 'receive_to_link'"),
            {"h": HOSTILE},
        )
    for path in PAGES:
        html = writer.get(path).text
        assert "<script>alert" not in html, path
        assert "<img src=x" not in html, path
        assert path == "/console/relink?link_state=failed" or "&lt;script&gt;" in html, path
        assert ">49<" not in html


def test_hostile_text_in_the_address_stays_text(writer: FlaskClient) -> None:
    """Whatever of it a page repeats."""
    for path in ("/console/links", "/console/bots", "/console/audit", "/console/relink"):
        for name in ("title", "status", "action", "link_state", "since", "cursor", HOSTILE):
            html = writer.get(path, query_string={name: HOSTILE}).text
            assert "<script>alert" not in html
            assert "<img src=x" not in html


# -- lists -----------------------------------------------------------------------


def test_a_meeting_is_found_by_two_words_of_its_title(reader: FlaskClient) -> None:
    """In any order and case; what does not match is not there."""
    html = reader.get("/console/links?title=SYNC+roadmap").text
    titles = re.findall(r'<th scope="row"><bdi>([^<]+)</bdi>', html)
    assert titles
    assert all(title.startswith("Roadmap sync") for title in titles)
    assert 'value="SYNC roadmap"' in html


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/console/links?since=someday", "must be an ISO 8601 time"),
        ("/console/links?bot_id=7", "must be a UUID"),
        ("/console/bots?link_state=maybe", "must be"),
        ("/console/deliveries?outcome=odd", "must be"),
        ("/console/audit?until=5", "must be an ISO 8601 time"),
    ],
)
def test_a_bad_filter_shows_what_is_wrong_beside_its_field(
    reader: FlaskClient, path: str, words: str
) -> None:
    """400, the field marked, and what was typed still in it."""
    response = reader.get(path)
    assert response.status_code == 400
    name, value = path.partition("?")[2].split("=")
    assert f'id="wrong-{name}">' in response.text
    assert words in unescape(response.text)
    field = re.search(rf'<(?:input|select) id="field-{name}"[^>]*>', response.text)
    assert field
    assert 'aria-invalid="true"' in field[0]
    assert f"wrong-{name}" in field[0]
    assert f'value="{value}"' in field[0] or f"<option selected>{value}" in response.text
    assert '<details class="more" open>' in response.text
    assert "<tbody>" not in response.text


@pytest.mark.parametrize("query", ["cursor=tampered", "sort=title", "title=a&title=b"])
def test_what_is_wrong_and_no_field_of_the_form_is_told_as_well(
    reader: FlaskClient, query: str
) -> None:
    """400, and in words."""
    response = reader.get(f"/console/links?{query}")
    assert response.status_code == 400
    assert query.partition("=")[0] in response.text
    assert "wrong-title" in response.text or 'role="alert"' in response.text


# What a row is named by on a page, the first that it has.
NAMES = (
    "bot_id",
    "example_bot_id",
    "message_id",
    "actor",
    "external_id",
    "meeting_title",
    "calendar_user_id",
    "started_by",
)


@pytest.mark.parametrize("kind", LISTS, ids=lambda kind: kind.name)
def test_every_list_has_its_json_and_csv_twin_one_click_away(
    reader: FlaskClient, kind: Any
) -> None:
    """With the same filter, by the same cookie, and the same rows."""
    has_since = "since" in kind.wanted.model_fields and kind.name != "rejections"
    since = "&since=2026-11-20T10%3A30" if has_since else ""
    html = reader.get(f"/console/{kind.name}?limit=7{since}").text
    links = [unescape(link) for link in re.findall(r'href="(/api/[^"]+\?[^"]+)"', html)]
    json_twin, csv_twin = links
    items = reader.get(json_twin).get_json()["items"]
    assert items
    assert len(items) == html.count('<th scope="row">')
    lines = reader.get(csv_twin).text.splitlines()
    assert len(lines) - 1 >= len(items)
    assert lines[0] == ",".join(items[0])
    for row in items:
        assert str(next(row[name] for name in NAMES if row.get(name)))[:8] in html


def test_pages_lead_to_older_rows_and_back(reader: FlaskClient) -> None:
    """By cursor; the JSON twin of a page begins where the page does."""
    first = reader.get("/console/links?limit=5&title=sync").text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = reader.get(unescape(older[1]))
    assert second.status_code == 200
    assert "title=sync" in older[1]
    assert not set(_bots(first)) & set(_bots(second.text))
    twin = re.search(r'href="(/api/links\?[^"]*cursor[^"]*)"', second.text)
    assert twin
    items = reader.get(unescape(twin[1])).get_json()["items"]
    assert [row["bot_id"] for row in items] == _bots(second.text)
    assert 'href="/console/links?limit=5&amp;title=sync">Newest' in second.text


def _bots(html: str) -> list[str]:
    return re.findall(r'class="id" href="/console/bots/([0-9a-f-]{36})"', html)


def test_what_is_not_linked_shows_its_error_and_next_retry_in_place(reader: FlaskClient) -> None:
    """So that nobody opens forty pages to see that all say the same."""
    html = reader.get("/console/bots?link_state=unlinked").text
    row = html[html.index(f'href="/console/bots/{RETRIED}"') :].partition("</tr>")[0]
    assert "http_503: bot/{id}" in row
    assert re.search(r"in \d min", row)
    assert ">linked<" not in html.partition("<tbody>")[2]


def test_copies_and_bots_of_one_meeting_stand_together(reader: FlaskClient) -> None:
    """A row says how many there are and leads to all of them; a bot's page shows the others."""
    both = [bot_id(10), bot_id(11)]
    html = reader.get("/console/links?limit=200").text
    path = re.findall(r'href="(/console/links\?meeting_key=\w+)">2 copies, 2 bots', html)[-1]
    assert sorted(_bots(reader.get(path).text)) == sorted(both)
    for bot, other in (both, both[::-1]):
        page = reader.get(f"/console/bots/{bot}").text
        assert _bots(page.partition("Other bots in the same meeting")[2]) == [other]
        assert path in page
    alone = reader.get(f"/console/bots/{bot_id(20)}").text
    assert "Other bots in the same meeting" not in alone


def test_recordings_are_listed_and_stand_on_their_bots_page(
    reader: FlaskClient, engine: Engine
) -> None:
    """With state, transcript and expiry; one that has expired says so."""
    recording = reader.get("/api/recordings").get_json()["items"][0]
    bot = recording["bot_id"]
    with engine.begin() as connection:
        theirs = update(Recording).where(Recording.bot_id == bot)
        connection.execute(theirs.values(expires_at=START, transcript_status="failed"))
    for path in (f"/console/recordings?bot_id={bot}", f"/console/bots/{bot}"):
        html = reader.get(path).text
        row = html[html.index(recording["recording_id"]) :].partition("</tr>")[0]
        assert ">expired<" in row
        assert ">failed<" in row
    whole = reader.get(f"/api/bots/{bot}").get_json()["recordings"]
    assert [one["recording_id"] for one in whole] == [recording["recording_id"]]


# -- one bot ---------------------------------------------------------------------


def test_one_bot_is_explained_on_one_line_of_time(reader: FlaskClient) -> None:
    """Statuses, deliveries and copies, each attempt with every call, the next retry, and why."""
    html = reader.get(f"/console/bots/{RETRIED}").text
    why = reader.get(f"/api/bots/{RETRIED}").get_json()["why"]
    assert why.partition(";")[0] in unescape(html)
    kinds = re.findall(r'<li class="moment moment-(\w+)"', html)
    assert kinds == [
        "status", "delivery", "attempt",
        "status", "delivery",
        "status", "delivery", "attempt",
        "next",
    ]  # fmt: skip
    assert "arrived 2 times" in html
    for words in ("15,000", "no answer", ">503<", "214", "GET bot/{id}", "retry"):
        assert words in html
    times = re.findall(r'<div class="moment-at"><span class="when"><time datetime="([^"]+)"', html)
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (f"/console/bots/{BOT}", 404, "We have received no webhook for this bot"),
        ("/console/bots/7", 400, "36 characters"),
        ("/console/bot?bot_id=7", 404, "first 8 characters"),
        ("/console/bot?bot_id=ffffffff", 404, "first 8 characters"),
        ("/console/nowhere/at/all", 404, "no page"),
        ("/console/relink/done?result=x", 400, "Unknown or expired result"),
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(
    reader: FlaskClient, path: str, status: int, words: str
) -> None:
    """And not a document for machines."""
    response = reader.get(path)
    assert (response.status_code, response.mimetype) == (status, "text/html")
    assert words in unescape(response.text)


def test_a_bot_that_is_not_applied_yet_is_told_apart(reader: FlaskClient, engine: Engine) -> None:
    """Its webhook has come; its page has not."""
    add_delivery(engine, BOT, "joining_call")
    response = reader.get(f"/console/bots/{BOT}")
    assert response.status_code == 404
    assert "not processed yet" in response.text


def test_a_pasted_id_opens_its_bot(reader: FlaskClient) -> None:
    """In any case of letters, with the blanks that pasting brings."""
    response = reader.get("/console/bot", query_string={"bot_id": f" {BOT.upper()}\n"})
    assert response.location == f"/console/bots/{BOT}"


AWKWARD = (" user-17 ", "x" * 255, "a/b?c&d=e#f%20+é;,", '"><b>=\u202e\u00e9', "\u00a0-x\u3000")


@pytest.mark.parametrize("external_id", AWKWARD)
def test_every_link_of_a_bots_page_finds_what_it_is_about(
    reader: FlaskClient, engine: Engine, external_id: str
) -> None:
    """Also of a calendar user whose id is long, begins with a blank, or looks like a query."""
    with engine.begin() as connection:
        theirs = update(Link).where(Link.bot_id == bot_id(20)).values(external_id=external_id)
        connection.execute(theirs)
    page = reader.get(f"/console/bots/{bot_id(20)}").text
    paths = {unescape(path) for path in re.findall(r'href="(/console/\w+\?[^"]+)"', page)}
    assert len(paths) >= 5
    for path in paths - {"/console/bots?link_state=failing"}:
        response = reader.get(path)
        assert response.status_code == 200, path
        assert f'href="/console/bots/{bot_id(20)}"' in response.text, path


def test_the_search_opens_what_a_page_shows_of_an_id(reader: FlaskClient, engine: Engine) -> None:
    """The beginning of a bot's id, a message's id; where several are meant, the list of them."""
    one, other, logged = f"{BOT[:-1]}0", f"{BOT[:-1]}1", bot_id(900_000)
    add_bot(engine, one)
    add_delivery(engine, one, "done", id="msg_of_a_bot")
    add_delivery(engine, None, None, id="msg_of_none", outcome="malformed")
    add_delivery(engine, logged, None, id="msg_of_a_log", outcome="ignored")
    with engine.begin() as connection:
        refused = {"received_at": START, "reason": "stale_timestamp", "headers": {}}
        connection.execute(insert(Rejection).values(message_id="msg_refused", **refused))
    opened = {
        one[:8]: f"/console/bots/{one}",
        f" {one[:20].upper()}\n": f"/console/bots/{one}",
        "msg_of_a_bot": f"/console/bots/{one}",
        logged[:8]: f"/console/bots/{logged}",
        "msg_of_none": "/console/deliveries?message_id=msg_of_none",
        "msg_refused": "/console/rejections?message_id=msg_refused",
    }
    for pasted, page in opened.items():
        assert reader.get("/console/bot", query_string={"bot_id": pasted}).location == page, pasted
    add_bot(engine, other)
    several = reader.get("/console/bot", query_string={"bot_id": one[:8]}, follow_redirects=True)
    assert several.request.path == "/console/bots"
    assert set(re.findall(r'href="/console/bots/([^"]+)"', several.text)) >= {one, other}


LOBBY = "timeout_exceeded_waiting_room"


@pytest.mark.parametrize(
    ("fields", "chip", "why"),
    [
        ({"status": "done", "recorded": True}, "chip-good", "recorded"),
        (
            {"status": "done", "recorded": False, "ended_sub_code": LOBBY},
            "chip-wait",
            "not let in",
        ),
        ({"status": "done", "recorded": False}, "chip-warn", "nothing recorded"),
        (
            {"status": "fatal", "recorded": False, "ended_sub_code": "meeting_full"},
            "chip-bad",
            "bot failed",
        ),
        ({"status": "done", "recorded": False, "ended_sub_code": "<b>"}, "chip-warn", "&lt;b&gt;"),
    ],
)
def test_a_bot_that_only_waited_looks_neither_fine_nor_failed(
    reader: FlaskClient, engine: Engine, fields: dict[str, Any], chip: str, why: str
) -> None:
    """On its page and in the list; a sub code that nobody knows stays text."""
    add_bot(engine, BOT, **fields)
    for path in (f"/console/bots/{BOT}", f"/console/bots?bot_id={BOT}"):
        html = reader.get(path).text
        (found,) = re.findall(
            r'<d[dt][^>]*>(?:<[^>]*>)*Recording.*?</dd>|Recording">.*?</td>', html, re.DOTALL
        )
        assert chip in found, path
        assert why in found, path
        assert ("lobby" in found) is (fields.get("ended_sub_code") == LOBBY), path


# -- the overview ----------------------------------------------------------------


def test_each_count_of_the_overview_leads_to_the_rows_it_counts(
    reader: FlaskClient, engine: Engine
) -> None:
    """As many as it says: also of what is being processed, and of what waits to be."""
    add_delivery(engine, BOT, "done")
    add_bot(engine, BOT, due_at=db_now(-1), lease_until=db_now(600))
    counted = re.findall(r'<a href="([^"]+)">([\d,]+)</a>', reader.get("/console/").text)
    counts = {path: int(count) for path, count in counted if "kind=" not in path}
    assert counts["/console/deliveries?unapplied=1"] == 1
    assert counts["/console/bots?in_progress=1"] == 1
    assert len(counts) == 6
    for path, count in counts.items():
        html = reader.get(f"{path}&limit=500").text
        assert html.count('<th scope="row">') == count, path


def test_the_overview_tells_of_backlog_alarms_and_workers(
    reader: FlaskClient, engine: Engine
) -> None:
    """What waits, how old it is, what is wrong and what to do about it."""
    with engine.begin() as connection:
        for table in (CalendarFinding, MissedMeeting):
            connection.execute(delete(table))
    html = reader.get("/console/").text
    assert "No active alarms" in html
    for words in ("worker.1:6", "burst 11, 300/min", "≤ 0.5 s", "1,062", "bot/{id} 503"):
        assert words in html
    add_bot(engine, BOT, due_at=db_now(-4000))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM workspace_state WHERE key LIKE 'worker:%'"))
    html = reader.get("/console/").text
    assert "no worker has reported" in html
    assert "python -m workers" in html
    assert "oldest 67 min" in html
