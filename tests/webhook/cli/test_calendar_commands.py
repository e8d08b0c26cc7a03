"""recall-links calendar connect-url and token, and what the doctor says of the companion."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert

from models.queries.calendars.nightly_check import NOT_CHECKED
from models.settings.environment import Settings
from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.calendar import ErasedUser
from tests.conftest import MakeSettings
from tests.lab.recall import FakeRecall
from tests.support.calendar_app import PAGES, PUBLIC, SHARED_KEY, calendar_settings, rsa_pair
from tests.support.rows import checked_calendars, rows
from webhook.app import create_app, resources_of
from webhook.cli.exit_codes import NOTHING_FOUND, USAGE
from webhook.cli.main import cli
from webhook.doctor.calendar import examine_calendar
from workers.privacy.tombstones import external_id_hash

Run = Callable[..., Result]
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def run(database_url: str, recall: FakeRecall) -> Run:
    """Run a command as a shell would, with everything set."""

    def run(*words: str, **others: object) -> Result:
        given = calendar_settings(recall, DATABASE_URL=database_url, **others)
        environ = {name: str(value) for name, value in given.items()}
        return CliRunner().invoke(cli, words, env=environ)

    return run


@contextmanager
def web(settings: Settings) -> Iterator[FlaskClient]:
    """A client of the web process that shares this database."""
    app = create_app(settings)
    yield app.test_client()
    resources_of(app).close()


def test_connect_url_prints_a_link_that_the_web_process_follows(
    run: Run, make_settings: MakeSettings, recall: FakeRecall, engine: Engine
) -> None:
    """Without a JWT key: whoever has the shell needs no other proof. Audited."""
    done = run("calendar", "connect-url", "ines", "google", "--return-to", f"{PAGES}/settings")
    assert done.exit_code == 0, done.output
    path = done.stdout.strip().removeprefix(PUBLIC)
    with web(make_settings(**calendar_settings(recall, CALENDAR_JWT_KEY=""))) as client:
        location = client.get(path).headers["Location"]
        assert client.get(path).status_code == 410
    assert location.startswith("https://accounts.google.com/")
    (kept,) = rows(engine, Audit)
    assert (kept.action, kept.subject) == ("calendar connect-url", "ines")


@ON_SQLITE
def test_connect_url_in_json_is_for_scripts(run: Run) -> None:
    """The link and its seconds."""
    done = run("calendar", "connect-url", "ines", "microsoft", "--json")
    told = json.loads(done.stdout)
    assert told["url"].startswith(f"{PUBLIC}/calendar/connect/microsoft?link=")
    assert told["expires_in"] == 300


@ON_SQLITE
def test_connect_url_refuses_what_the_route_refuses(run: Run, recall: FakeRecall) -> None:
    """A second calendar without --replace, a foreign target, a strange id, a platform not set."""
    user = recall.build.user()
    recall.world.connect(user.id, "google", "one@home.example")
    name = str(user.external_id)
    refused = run("calendar", "connect-url", name, "google")
    assert refused.exit_code == NOTHING_FOUND
    assert "one@home.example" in refused.stderr
    assert run("calendar", "connect-url", name, "google", "--replace").exit_code == 0
    target = ("--return-to", "https://evil.example/")
    assert run("calendar", "connect-url", name, "microsoft", *target).exit_code == USAGE
    assert run("calendar", "connect-url", " ines", "google").exit_code == USAGE
    unset = run("calendar", "connect-url", name, "google", GOOGLE_OAUTH_CLIENT_ID="")
    assert "GOOGLE_OAUTH_CLIENT_ID" in str(unset.exception)


def test_token_makes_no_user_by_a_slip_of_the_hand(run: Run, recall: FakeRecall) -> None:
    """Only with --create; once known it is the cached one."""
    slip = run("calendar", "token", "inse")
    assert slip.exit_code == NOTHING_FOUND
    assert recall.world.user_named("inse") is None
    made = run("calendar", "token", "ines", "--create")
    assert recall.world.user_of_token(made.stdout.strip()) is not None
    again = json.loads(run("calendar", "token", "ines", "--json").stdout)
    assert again["token"] == made.stdout.strip()


@ON_SQLITE
def test_token_is_not_for_the_erased(run: Run, recall: FakeRecall, engine: Engine) -> None:
    """Not even with --create."""
    values = {"external_id_hash": external_id_hash("ines"), "reason": "asked"}
    with engine.begin() as connection:
        connection.execute(insert(ErasedUser).values(**values, erased_at=db_now()))
    done = run("calendar", "token", "ines", "--create")
    assert done.exit_code == NOTHING_FOUND
    assert "erased" in done.stderr
    assert recall.calls.all() == []


@pytest.mark.parametrize(
    ("words", "nothing"),
    [(("missed",), "No meeting was missed."), (("calendar", "findings"), "No findings.")],
)
def test_nothing_found_is_told_from_nobody_looked(
    run: Run, engine: Engine, words: tuple[str, ...], nothing: str
) -> None:
    """On standard error; the exit code is the same."""
    done = run(*words)
    assert (done.exit_code, done.stderr) == (NOTHING_FOUND, f"{NOT_CHECKED}\n")
    checked_calendars(engine, users=3)
    assert f"{nothing} Last nightly check: " in run(*words).stderr
    assert "Nothing matches. " in run(*words, "--external-id", "nobody").stderr
    assert run(*words, "--json").stderr == ""


def findings(**environ: str) -> dict[str, tuple[str, str]]:
    """What the doctor says with these settings: level and text by name."""
    found = examine_calendar(Settings.read(environ))
    return {finding.name: (finding.level, finding.text) for finding in found}


def test_the_doctor_says_that_the_companion_is_off() -> None:
    """Nothing set is nothing wrong."""
    assert findings() == {"calendar companion": ("ok", "off: its routes answer 404")}


def test_the_doctor_fails_trust_without_proof() -> None:
    """In the lab too: whoever reads it must know."""
    level, text = findings(CALENDAR_TRUST_ANY_USER="1")["calendar callers"]
    assert level == "failed"
    assert "anyone's calendar" in text


def test_the_doctor_prints_what_to_enter_at_the_providers() -> None:
    """Each callback's address, word for word, and which kind of proof is asked for."""
    _, public = rsa_pair()
    given = {"PUBLIC_URL": PUBLIC, "GOOGLE_OAUTH_CLIENT_ID": "g", "RECALL_API_KEY": "k"}
    told = findings(**given, CALENDAR_JWT_KEY=public)
    assert f"{PUBLIC}/calendar/callback/google" in told["google calendars"][1]
    assert "RS256" in told["calendar callers"][1]
    assert {told["return targets"][0], told["calendar pages"][0]} == {"warning"}
    assert "microsoft calendars" not in told
    assert findings(**given)["calendar callers"][0] == "warning"
    assert findings(CALENDAR_JWT_KEY=SHARED_KEY)["calendar tokens"][0] == "failed"
