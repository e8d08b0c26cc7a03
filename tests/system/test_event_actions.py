"""What people do with events: look at one, send it again, turn an endpoint off and on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert, update

from models.settings.environment import Settings
from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.event import Event, EventAttempt, EventDelivery
from models.tables.workspace_state import ENDPOINT_FAILING
from tests.conftest import MakeSettings
from tests.support.console_client import READ, WRITE, logged_in, post
from tests.support.fakes import BOT, MEETINGS
from tests.support.rows import rows
from webhook.app import create_app, resources_of
from webhook.cli.main import cli
from webhook.web.auth import BEARER
from workers.db.workspace_state import write_state
from workers.outbox.numbering import number_events, routes_of
from workers.outbox.write import Subject, write_event

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENTS = {"EVENTS_URL": "https://hooks.example/in", "EVENTS_SECRET": SECRET}


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """One endpoint, and a token of each kind."""
    return make_settings(OPS_READ_TOKENS=READ, OPS_WRITE_TOKENS=WRITE, **EVENTS)


@pytest.fixture
def name(settings: Settings) -> str:
    """What the endpoint is called."""
    return settings.event_endpoints[0].name


@pytest.fixture
def told(engine: Engine, settings: Settings, name: str) -> list[str]:
    """Three events that were given up after an attempt; their ids in order."""
    with engine.begin() as connection:
        for kind in ("link.created", "link.updated", "link.updated"):
            data = {"changed": ["meeting_title"], "link": {"meeting_title": "<b>Q3</b>"}}
            write_event(connection, kind, Subject(BOT, MEETINGS[0]), data)
    with engine.begin() as connection:
        number_events(connection, routes_of(settings))
        done = {"state": "failed", "attempts": 8, "next_try_at": None}
        connection.execute(update(EventDelivery).values(done))
        connection.execute(update(Event).values(done))
        tried = {"endpoint": name, "at": db_now(), "status": 503, "ms": 17}
        ids = _ids(connection)
        connection.execute(insert(EventAttempt).values(event_id=ids[0], **tried))
    return ids


def _ids(connection: Any) -> list[str]:
    found = connection.execute(Event.__table__.select().order_by(Event.position))
    return [row.id for row in found]


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    """The application."""
    app = create_app(settings)
    yield app.test_client()
    resources_of(app).close()


@pytest.fixture
def writer(client: FlaskClient) -> FlaskClient:
    """A browser that may change things."""
    return logged_in(client.application, WRITE)


def ask(client: FlaskClient, path: str, body: object = None, token: str = WRITE) -> Any:
    """POST where there is a body, else GET; returns status and JSON."""
    headers = {"Authorization": BEARER + token}
    answer = (
        client.get(path, headers=headers)
        if body is None
        else client.post(path, json=body, headers=headers)
    )
    return answer.status_code, answer.get_json()


def states(engine: Engine) -> list[str]:
    """How each event stands, in order."""
    return [event.state for event in rows(engine, Event)]


def test_the_api_sends_one_again(client: FlaskClient, engine: Engine, told: list[str]) -> None:
    """Audited; with a write token alone; its attempts are there to be read."""
    path = f"/api/events/{told[0]}"
    status, found = ask(client, path, token=READ)
    assert (status, found["event"]["state"]) == (200, "failed")
    assert [(one["status"], one["ms"]) for one in found["attempts"]] == [(503, 17)]
    assert ask(client, f"{path}/resend", {}, READ)[0] == 403
    assert ask(client, f"{path}/resend", {}) == (202, {"event_id": told[0], "resent": 1})
    assert states(engine) == ["pending", "failed", "failed"]
    assert [(row.action, row.subject) for row in rows(engine, Audit)] == [
        ("events resend", told[0])
    ]
    assert ask(client, "/api/events/evt_0/resend", {})[0] == 404
    assert ask(client, "/api/events/evt_0")[0] == 404


def test_the_api_previews_before_it_sends_many(
    client: FlaskClient, engine: Engine, told: list[str]
) -> None:
    """By a filter or by ids; never all of them by a slip."""
    wanted = {"type": "link.updated"}
    status, found = ask(client, "/api/events/resend", wanted | {"preview": True})
    assert (status, found["count"], found["is_more"]) == (200, 2, False)
    assert {row["event_id"] for row in found["sample"]} == set(told[1:])
    assert states(engine) == ["failed"] * 3
    assert ask(client, "/api/events/resend", wanted) == (202, {"resent": 2, "is_more": False})
    assert states(engine) == ["failed", "pending", "pending"]
    assert ask(client, "/api/events/resend", {"event_ids": told[:1]})[1]["resent"] == 1
    assert ask(client, "/api/events/resend", {})[0] == 400


def test_the_api_lists_endpoints_and_turns_them_off_and_on(
    client: FlaskClient, engine: Engine, told: list[str], name: str
) -> None:
    """Audited; with a write token alone; of the address no more than the host."""

    def listed() -> dict[str, Any]:
        status, found = ask(client, "/api/endpoints", token=READ)
        assert (status, found["next"]) == (200, None)
        (row,) = found["items"]
        assert "/in" not in str(row)
        return dict(row)

    with engine.begin() as connection:
        connection.execute(update(EventDelivery).values(state="pending"))
        write_state(connection, f"{ENDPOINT_FAILING}{name}", {"error": "http_503"})
    row = listed()
    assert (row["endpoint"], row["host"]) == (name, "hooks.example")
    assert (row["state"], row["reason"], row["waiting"]) == ("failing", "http_503", 3)
    assert (row["since"] is None, row["last_delivered_at"]) == (False, None)
    path = f"/api/endpoints/{name}"
    assert ask(client, f"{path}/off", {}, READ)[0] == 403
    status, row = ask(client, f"{path}/off", {})
    assert (status, row["state"], row["waiting"]) == (200, "off", 3)
    assert row == listed()
    assert states(engine) == ["off"] * 3
    status, row = ask(client, f"{path}/on", {})
    assert (status, row["state"], row["reason"], row["since"]) == (200, "well", None, None)
    assert states(engine) == ["pending"] * 3
    assert [(row.action, row.subject) for row in rows(engine, Audit)] == [
        ("events off", name),
        ("events on", name),
    ]
    assert ask(client, "/api/endpoints/nobody/on", {})[0] == 404


def test_the_last_delivery_is_that_of_the_newest_event_it_has(
    client: FlaskClient, engine: Engine, told: list[str], name: str
) -> None:
    """Neither a refusal since, nor an attempt of another endpoint, counts."""
    times = {"well": db_now(-60), "refused": db_now(-30), "another": db_now(-10)}
    with engine.begin() as connection:
        its_own = EventDelivery.event_id == told[0]
        connection.execute(update(EventDelivery).where(its_own).values(state="delivered"))
        common = {"event_id": told[0], "ms": 5}
        for endpoint, status, when in (
            (name, 204, "well"),
            (name, 503, "refused"),
            ("another", 204, "another"),
        ):
            one = {"endpoint": endpoint, "status": status, "at": times[when], **common}
            connection.execute(insert(EventAttempt).values(**one))
    (expected,) = [row.at for row in rows(engine, EventAttempt, endpoint=name) if row.status == 204]
    found = ask(client, "/api/endpoints", token=READ)[1]["items"][0]["last_delivered_at"]
    assert found == expected.isoformat()


def test_the_feed_is_read_behind_a_position(client: FlaskClient, told: list[str]) -> None:
    """The earliest first, a page at a time."""
    first = ask(client, "/api/events?after=0&limit=2", token=READ)[1]["items"]
    assert [row["event_id"] for row in first] == told[:2]
    rest = ask(client, f"/api/events?after={first[-1]['position']}", token=READ)[1]["items"]
    assert [row["event_id"] for row in rest] == told[2:]


def test_the_console_shows_one_and_sends_it_again(
    writer: FlaskClient, engine: Engine, told: list[str]
) -> None:
    """The preview changes nothing; what strangers wrote is escaped."""
    page = writer.get(f"/console/events/{told[0]}").text
    assert "503" in page
    assert "<b>Q3" not in page
    assert "Send 1 event" in post(writer, "/console/events/resend", event_ids=told[0]).text
    assert states(engine) == ["failed"] * 3
    done = post(writer, "/console/events/resend", event_ids=told[0], confirm="1")
    assert done.status_code == 303
    assert "1 event queued" in writer.get(done.headers["Location"]).text
    assert states(engine) == ["pending", "failed", "failed"]
    assert "Send 2 events" in writer.get("/console/events/resend?state=failed").text
    assert writer.get("/console/events/resend").status_code == 400
    assert writer.get("/console/events/evt_0").status_code == 404


def test_the_console_turns_an_endpoint_off_and_on(
    writer: FlaskClient, engine: Engine, told: list[str], name: str
) -> None:
    """What waits for it is kept; a reader cannot."""
    with engine.begin() as connection:
        connection.execute(update(EventDelivery).values(state="pending"))
    path = "/console/events/endpoints"
    assert post(writer, path, endpoint=name, turn="off").status_code == 303
    assert states(engine) == ["off"] * len(told)
    assert "Turn on" in writer.get(path).text
    overview = writer.get("/console/").text
    # Beside the alarm, and among the facts.
    assert "events_failing" in overview
    assert overview.count(f'<a href="/console/events?endpoint={name}">') == 2
    assert post(writer, path, endpoint=name, turn="on").status_code == 303
    assert states(engine) == ["pending"] * len(told)
    assert post(writer, path, endpoint="nobody", turn="off").status_code == 404
    reader = logged_in(writer.application, READ)
    assert post(reader, path, endpoint=name, turn="off").status_code == 403


def test_the_command_line_does_the_same(
    database_url: str, engine: Engine, told: list[str], name: str
) -> None:
    """List, preview, resend, endpoints, off and on; exit code 1 where nothing matches."""

    def run(*words: str) -> Result:
        environ = {"DATABASE_URL": database_url, **EVENTS}
        return CliRunner().invoke(cli, ["events", *words], env=environ, catch_exceptions=False)

    assert [row["event_id"] for row in json.loads(run("list", "--json").stdout)["items"]] == told[
        ::-1
    ]
    assert len(json.loads(run("--json", "--type", "link.created").stdout)["items"]) == 1
    assert json.loads(run("resend", told[0], "--preview", "--json").stdout)["count"] == 1
    assert states(engine) == ["failed"] * 3
    assert run("resend", "--state", "failed").exit_code == 2
    assert json.loads(run("resend", "--state", "failed", "--yes", "--json").stdout)["resent"] == 3
    assert run("resend", "--state", "failed", "--yes").exit_code == 1
    assert json.loads(run("endpoints", "--json").stdout)["items"][0]["waiting"] == 3
    assert run("off", name, "--yes").exit_code == 0
    assert states(engine) == ["off"] * 3
    assert run("on", name).exit_code == 0
    assert states(engine) == ["pending"] * 3
    assert run("on", "nobody").exit_code == 2
    # Without --yes it is the name that is refused: nothing is asked about an unknown endpoint.
    assert "no such endpoint" in run("off", "nobody").stderr
