"""Calendar users in the console: what was found, what is held, and what a person does."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert

from models.queries.reconcile import ReconcileSummary, describe_reconcile
from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.calendar import CalendarToken
from models.tables.calendar_finding import CalendarFinding
from models.tables.link import Link
from models.tables.reconcile_run import ReconcileRun
from tests.conftest import MakeContext, MakeSettings
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.world.shapes import CalendarUser as FakeUser
from tests.support.cli import link
from tests.support.console_client import READ, WRITE, logged_in, post
from tests.support.rows import checked_calendars, count, rows
from webhook.app import create_app, resources_of

BOT_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def found_something(engine: Engine) -> None:
    """Keep a finished reconcile, and one finding whose subject is hostile."""
    with engine.begin() as connection:
        run = {"started_at": db_now(), "beat_at": db_now(), "finished_at": db_now()}
        counts = {"bots_seen": 9, "bots_missed": 2, "statuses_missed": 5, "is_complete": True}
        connection.execute(insert(ReconcileRun).values(position={}, **run, **counts))
        named = {"calendar_user_id": "u-1", "kind": "two_bots_on_one_meeting"}
        rest = {"subject": "<b>m</b>", "bot_ids": [BOT_ID], "found_at": db_now()}
        connection.execute(insert(CalendarFinding).values(**named, **rest))


@pytest.fixture
def app(engine: Engine, make_settings: MakeSettings) -> Iterator[Flask]:
    """An application that a read token opens."""
    app = create_app(make_settings(OPS_READ_TOKENS=READ))
    yield app
    resources_of(app).close()


def test_the_overview_tells_of_reconcile_and_findings(engine: Engine, app: Flask) -> None:
    """The overview says what no webhook told, and leads to the findings."""
    found_something(engine)
    page = logged_in(app, READ).get("/console/").text
    assert "2 bots and 5 statuses missed, out of 9 bots" in page
    found = "/console/findings?kind=two_bots_on_one_meeting"
    assert f'<a href="{found}">two bots on one meeting: 1</a>' in page


def test_findings_are_listed_and_escaped(engine: Engine, app: Flask) -> None:
    """A finding is listed with its bots, and its text is no markup."""
    found_something(engine)
    page = logged_in(app, READ).get("/console/findings").text
    assert "&lt;b&gt;m&lt;/b&gt;" in page
    assert f"/console/bots/{BOT_ID}" in page


def test_no_findings_are_said_to_be_none(engine: Engine, app: Flask) -> None:
    """An empty list is a sentence, that of a check which has looked; a stranger logs in."""
    checked_calendars(engine, users=2)
    assert "No findings. Last nightly check:" in logged_in(app, READ).get("/console/findings").text
    assert app.test_client().get("/console/findings").status_code == 302


def test_the_findings_are_still_found_where_they_were(app: Flask) -> None:
    """People keep addresses."""
    answer = logged_in(app, READ).get("/console/calendar/findings")
    assert (answer.status_code, answer.headers["Location"]) == (308, "/console/findings")


def test_an_incomplete_reconcile_is_said_to_be() -> None:
    """A run that ended early is not taken for a whole one."""
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    words = describe_reconcile(ReconcileSummary(at, None, 9, 2, 5, is_complete=False))
    assert words == "2026-01-02 03:04 UTC: 2 bots and 5 statuses missed, out of 9 bots (incomplete)"


WHO, USER = "ines", "/console/calendar/user"
ACTIONS = ("look", "check", "refresh", "disconnect", "delete")


@pytest.fixture
def caring(
    engine: Engine, make_settings: MakeSettings, recall: FakeRecall
) -> Iterator[FlaskClient]:
    """A browser with a write token, in front of a web process that may speak to Recall."""
    given = {"RECALL_API_BASE_URL": recall.url, "RECALL_API_KEY": recall.api_key}
    settings = make_settings(OPS_READ_TOKENS=READ, OPS_WRITE_TOKENS=WRITE, **given)
    app = create_app(settings)
    yield logged_in(app, WRITE)
    resources_of(app).close()


@pytest.fixture
def ines(recall: FakeRecall) -> FakeUser:
    """A user who has connected both platforms."""
    user = recall.build.user(WHO)
    recall.world.connect(user.id, "microsoft", "ines@north.example")
    return user


def connected(recall: FakeRecall, user: FakeUser) -> set[str]:
    """The platforms that Recall holds connected."""
    return {one.platform for one in recall.world.users[user.id].connections if one.connected}


def test_what_is_held_of_a_user_is_shown_without_asking_recall(
    caring: FlaskClient,
    recall: FakeRecall,
    ines: FakeUser,
    engine: Engine,
    make_context: MakeContext,
) -> None:
    """A page somebody only opens costs no call, and can create nobody."""
    meeting = recall.build.meeting(ines)
    link(engine, make_context(), recall.build.bot([meeting]).id)
    recall.calls.clear()
    page = caring.get(f"{USER}?external_id={WHO}").text
    assert str(meeting.title) in page
    assert "/console/links?external_id=ines" in page
    assert "No data is stored" in caring.get(f"{USER}?external_id=mistyped").text
    assert caring.get(f"{USER}?external_id=%00").status_code == 400
    assert recall.calls.all() == []


def test_asking_recall_shows_calendars_and_meetings(
    caring: FlaskClient, recall: FakeRecall, ines: FakeUser
) -> None:
    """Connections, what is recorded, and what is to come with its bot; titles are text."""
    soon = datetime.now(UTC) + timedelta(days=1)
    coming = recall.build.meeting(ines, start=soon)
    coming.title = "<b>Roadmap</b>"
    bot = recall.build.bot([coming], outcome=None)
    page = post(caring, USER, action="look", external_id=WHO).text
    assert "ines@north.example" in page
    assert "external meetings, internal meetings" in page
    assert "&lt;b&gt;Roadmap&lt;/b&gt;" in page
    assert f"/console/bots/{bot.id}" in page


def test_a_refresh_is_done_said_to_be_rarely_needed_and_audited(
    caring: FlaskClient, recall: FakeRecall, ines: FakeUser, engine: Engine
) -> None:
    """Under the name of the token that asked."""
    recall.build.meeting(ines)
    page = post(caring, USER, action="refresh", external_id=WHO).text
    assert "Recall has read the calendars again: 1 meetings" in page
    assert "rarely needed" in page
    (noted,) = rows(engine, Audit)
    assert (noted.action, noted.subject) == ("calendar refresh", WHO)
    assert noted.actor.startswith("token ")
    assert noted.actor in page


def test_one_platform_is_disconnected_once_that_is_confirmed(
    caring: FlaskClient, recall: FakeRecall, ines: FakeUser, engine: Engine
) -> None:
    """Asked first, then done; the other platform stays."""
    asked = post(caring, USER, action="disconnect", external_id=WHO, platform="google")
    assert "Disconnect google of" in asked.text
    assert connected(recall, ines) == {"google", "microsoft"}
    done = post(caring, USER, action="disconnect", external_id=WHO, platform="google", confirm="1")
    assert "google is disconnected" in done.text
    assert connected(recall, ines) == {"microsoft"}
    assert [row.action for row in rows(engine, Audit)] == ["calendar disconnect"]
    assert post(caring, USER, action="disconnect", external_id=WHO, platform="x").status_code == 400


def test_a_user_is_deleted_once_that_is_confirmed_and_never_made_again(
    caring: FlaskClient,
    recall: FakeRecall,
    ines: FakeUser,
    engine: Engine,
    make_context: MakeContext,
) -> None:
    """The links say why, and whoever asks again is told."""
    link(engine, make_context(), recall.build.bot([recall.build.meeting(ines)]).id)
    assert "Delete from Recall" in post(caring, USER, action="delete", external_id=WHO).text
    assert recall.world.users
    page = post(caring, USER, action="delete", external_id=WHO, confirm="1").text
    assert "Deleted from Recall; 1 links marked" in page
    assert recall.world.users == {}
    assert [row.end_reason for row in rows(engine, Link)] == ["user_erased"]
    refused = post(caring, USER, action="look", external_id=WHO)
    assert (refused.status_code, "is erased" in refused.text) == (409, True)
    assert recall.world.users == {}


def test_no_deed_creates_the_user_it_is_done_to(
    caring: FlaskClient, recall: FakeRecall, engine: Engine
) -> None:
    """Unknown at Recall: 404 in a sentence, and no token is asked."""
    for action in ACTIONS:
        fields = {"action": action, "platform": "google", "confirm": "1"}
        answer = post(caring, USER, external_id="mistyped", **fields)
        assert answer.status_code == 404, action
        assert "a token would create one" in answer.text
    assert recall.world.users == {}
    assert count(engine, CalendarToken) == 0


def test_a_recall_that_is_away_is_told_and_nothing_is_changed(
    caring: FlaskClient, recall: FakeRecall, ines: FakeUser, engine: Engine
) -> None:
    """503 for what may heal, and the user's page all the same."""
    recall.faults.add(Fault(status=503))
    answer = post(caring, USER, action="refresh", external_id=WHO)
    assert answer.status_code == 503
    assert "The request to Recall failed (http_503)" in answer.text
    assert count(engine, Audit) == 0


def test_a_read_session_may_look_and_do_nothing(app: Flask) -> None:
    """No button, and 403 for a form sent by hand."""
    reader = logged_in(app, READ)
    page = reader.get(f"{USER}?external_id={WHO}").text
    assert 'name="action"' not in page
    for action in ACTIONS:
        answer = post(reader, USER, action=action, external_id=WHO, platform="google", confirm="1")
        assert answer.status_code == 403


def test_without_an_api_key_only_what_is_held_is_shown(
    engine: Engine, make_settings: MakeSettings
) -> None:
    """The web process runs without one; it says what is missing."""
    app = create_app(make_settings(OPS_WRITE_TOKENS=WRITE, RECALL_API_KEY=""))
    writer = logged_in(app, WRITE)
    assert "RECALL_API_KEY is not set" in writer.get(f"{USER}?external_id={WHO}").text
    assert post(writer, USER, action="look", external_id=WHO).status_code == 503
    resources_of(app).close()


def test_the_search_leads_to_a_user(caring: FlaskClient) -> None:
    """One field, without script."""
    page = caring.get("/console/calendar/").text
    assert f'action="{USER}"' in page
    assert 'name="external_id"' in page
