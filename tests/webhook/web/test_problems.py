"""An error says what it is: a bug of ours is a 500 with an id, and never an absent database."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tests.conftest import ROOT, MakeSettings
from tests.lab.stack.stack import environment
from tests.support.console_client import READ, logged_in
from webhook.app import create_app, resources_of

BEARER = {"Authorization": f"Bearer {READ}"}
BUGS = [TypeError("a bug"), KeyError("bug"), RuntimeError("bug"), AssertionError()]
ABSENCES = [OperationalError("SELECT 1", {}, Exception("gone")), PoolTimeoutError("none is free")]


class Log:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.said = ""

    def exception(self, event: str, **values: object) -> None:
        """Keep an error's line."""
        self.said += f"{event} {values}"

    def warning(self, event: str, **values: object) -> None:
        """Keep a warning's line."""
        self.said += f"{event} {values}"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """What a request's failure is told to."""
    log = Log()
    monkeypatch.setattr("webhook.web.problems.logger", log)
    return log


def fail_at(app: Flask, path: str, error: Exception) -> None:
    """Add a route that raises."""

    def view() -> str:
        raise error

    app.add_url_rule(path, path, view)


def spoil(engine: Engine) -> None:
    """Take a view away, so that what reads it is a wrong statement, as a bug of ours would be."""
    with engine.begin() as connection:
        for view in ("bot_people", "due_bots", "unlinked_bots", "bot_links"):
            connection.execute(text(f"DROP VIEW IF EXISTS {view}"))


@pytest.mark.parametrize("error", BUGS, ids=lambda error: type(error).__name__)
def test_a_bug_is_a_500_with_an_id_that_the_log_has(app: Flask, error: Exception, log: Log) -> None:
    """A problem document that tells a stranger no more than that."""
    fail_at(app, "/broken", error)
    answer = app.test_client().get("/broken")
    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert re.fullmatch("[0-9a-f]{16}", answer.get_json()["id"])
    assert "bug" not in answer.text
    assert answer.get_json()["id"] in log.said


@pytest.mark.parametrize("error", ABSENCES, ids=lambda error: type(error).__name__)
def test_an_absent_database_is_a_503_without_an_id(app: Flask, error: Exception) -> None:
    """Nobody has anything to look for; the caller comes again."""
    fail_at(app, "/away", error)
    answer = app.test_client().get("/away")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.get_json()["detail"] == "the database does not answer"
    assert "id" not in answer.get_json()


def test_a_wrong_statement_is_a_bug_on_every_list(app: Flask, engine: Engine) -> None:
    """Not the database's absence, which would be said for as long as nobody looks."""
    spoil(engine)
    answer = app.test_client().get("/api/links", headers=BEARER)
    assert (answer.status_code, "does not answer" in answer.text) == (500, False)
    assert answer.get_json()["id"]


def test_a_wrong_statement_is_a_page_with_an_id(app: Flask, engine: Engine, log: Log) -> None:
    """For a person, who can tell the id to whoever reads the log."""
    reader = logged_in(app, READ)
    spoil(engine)
    answer = reader.get("/console/links")
    assert (answer.status_code, answer.mimetype) == (500, "text/html")
    assert "does not answer" not in answer.text
    found = re.search("[0-9a-f]{16}", answer.text.partition("for the id")[2])
    assert found
    assert found[0] in log.said


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/nothing", 404),
        ("GET", "/api", 404),
        ("GET", "/api/", 404),
        ("GET", "/api/nothing", 404),
        ("PUT", "/api/nothing", 404),
        ("GET", "/api/links/", 404),
        ("GET", "/calendar/nothing", 404),
        ("GET", "/webhooks", 404),
        ("DELETE", "/api/links", 405),
        ("GET", "/api/relink", 405),
        ("PUT", "/healthz", 405),
        ("POST", "/metrics", 405),
        ("POST", "/", 405),
        ("PATCH", "/console/links", 405),
    ],
)
def test_an_unknown_address_or_method_is_a_problem_document(
    app: Flask, method: str, path: str, status: int
) -> None:
    """With or without a token; a wrong method is told which are right."""
    for headers in ({}, BEARER):
        answer = app.test_client().open(path, method=method, headers=headers)
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
        assert answer.get_json()["status"] == status
        assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 302),
        ("*/*", 404),
        ("application/json", 404),
        (None, 404),
    ],
)
def test_the_bare_address_leads_a_browser_to_the_console(
    app: Flask, accept: str | None, status: int
) -> None:
    """A script is told where to look instead; no cache mixes up the two."""
    answer = app.test_client().get("/", headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.headers["Vary"]) == (status, "Accept")
    if status == 302:
        assert answer.headers["Location"] == "/console/"
    else:
        assert "/api/openapi.json" in answer.get_json()["detail"]


def test_an_error_of_http_stays_what_it_is(reader: FlaskClient) -> None:
    """Neither a bug nor an absence: not found, and no such method."""
    assert reader.get("/console/bots/nothing").status_code in (400, 404)
    assert reader.post("/api/links").status_code == 405
    assert reader.get("/nothing").status_code == 404


def type_links(database_url: str) -> tuple[int, list[str]]:
    """Type `recall-links links`: its exit code, and the lines of its standard error."""
    command = [sys.executable, "-m", "webhook.cli.main", "links"]
    environ = environment(DATABASE_URL=database_url)
    done = subprocess.run(
        command, env=environ, cwd=ROOT, check=False, capture_output=True, text=True
    )
    return done.returncode, done.stderr.splitlines()


def test_a_command_names_a_missing_migration_only_where_one_is_missing(
    engine: Engine, database_url: str
) -> None:
    """Else it is a bug: its id is in the line, and in the log above it."""
    spoil(engine)
    code, (*log, line) = type_links(database_url)
    assert (code, "db upgrade" in line, "does not answer" in line) == (70, False, False)
    [bug] = re.findall("[0-9a-f]{16}", line)
    assert bug in "".join(log)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    code, [line] = type_links(database_url)
    assert (code, "db upgrade" in line) == (3, True)


def test_readyz_says_why_a_database_is_of_no_use(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    """Away with the reason, and at another release with no more than that."""
    away = create_app(make_settings(DATABASE_URL=f"sqlite:///{tmp_path}/no/x.db"))
    checks = json.loads(away.test_client().get("/readyz").data)["checks"]
    assert checks["database"] == "away: unable to open database file"
    resources_of(away).close()
    empty = create_app(make_settings(DATABASE_URL=f"sqlite:///{tmp_path}/x.db"))
    checks = json.loads(empty.test_client().get("/readyz").data)["checks"]
    assert checks["database"] == "not migrated"
    resources_of(empty).close()
