"""Every alarm of the table is made to ring, and is seen wherever alarms are shown."""

import json
import re
from collections.abc import Callable
from html import unescape

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert

from models.queries.alarms.alerts import ALARMS, AlarmKind
from models.tables.base import db_now
from models.tables.calendar_finding import CalendarFinding
from models.tables.missed_meeting import MissedMeeting
from models.tables.reconcile_run import ReconcileRun
from tests.conftest import API_KEY, ROOT, SECRET
from tests.models.queries.alarms.test_alerts import (
    HOUR,
    a_worker,
    add_count,
    an_open_circuit,
    failed_bots,
    last_delivery,
)
from tests.support.console_client import READ
from tests.support.fakes import BOT, MEETINGS
from tests.support.rows import add_delivery
from webhook.cli.main import cli
from webhook.web.auth import BEARER
from workers.events.endpoints import turn_off

Run = Callable[..., Result]
EACH = pytest.mark.parametrize("kind", ALARMS, ids=lambda kind: kind.name)


def _silent(engine: Engine) -> None:
    last_delivery(engine, 4 * HOUR)
    add_count(engine, "delivery", "accepted", 7 * 24 + 2, 50)


def _missed(engine: Engine) -> None:
    run = {"started_at": db_now(), "beat_at": db_now(), "finished_at": db_now(), "position": {}}
    counts = {"bots_seen": 9, "bots_missed": 2, "statuses_missed": 3, "is_complete": True}
    with engine.begin() as connection:
        connection.execute(insert(ReconcileRun).values(**run, **counts))


def _no_bot(engine: Engine) -> None:
    row = {"calendar_user_id": BOT, "subject": MEETINGS[0], "bot_ids": []}
    times = {"starts_at": db_now(HOUR), "found_at": db_now()}
    with engine.begin() as connection:
        finding = insert(CalendarFinding).values(kind="will_record_without_bot", **row, **times)
        connection.execute(finding)


def _endpoint_off(engine: Engine) -> None:
    with engine.begin() as connection:
        turn_off(connection, "hooks.example-3f9c01", "by hand")


def _barred(engine: Engine) -> None:
    add_count(engine, "bot_end", "recorded call_ended_by_host", 48, 100)
    add_count(engine, "bot_end", "not_admitted timeout_exceeded_waiting_room", 0, 12)


def _missed_meeting(engine: Engine) -> None:
    times = {name: db_now() for name in ("start_time", "end_time", "found_at")}
    missed = insert(MissedMeeting).values(meeting_id=MEETINGS[0], reason="no_bot", **times)
    with engine.begin() as connection:
        connection.execute(missed)


# How each of them is made to ring alone, beside a worker that is alive.
RING: dict[str, Callable[[Engine], object]] = {
    "all_refused": lambda engine: add_count(engine, "rejection", "no_matching_signature", 0, 50),
    "silence": _silent,
    "circuit_open": lambda engine: an_open_circuit(engine, 200),
    "no_worker": lambda _: None,
    "stalled": lambda engine: add_delivery(engine, BOT, "done", received_at=db_now(-600)),
    "webhooks_missed": _missed,
    "not_recorded": _barred,
    "failures": lambda engine: failed_bots(engine, ["bot_not_found"] * 3),
    "will_record_without_bot": _no_bot,
    "events_failing": _endpoint_off,
    "meetings_missed": _missed_meeting,
}


def ring(engine: Engine, kind: AlarmKind) -> None:
    """Make one alarm ring, and no other."""
    if kind.name != "no_worker":
        a_worker(engine)
    RING[kind.name](engine)


@pytest.fixture
def run(database_url: str) -> Run:
    """Run a command as a shell would, with everything set that the doctor asks for."""

    def run(*words: str) -> Result:
        environ = {
            "DATABASE_URL": database_url,
            "RECALL_API_KEY": API_KEY,
            "RECALL_WEBHOOK_SECRETS": SECRET,
            "OPS_READ_TOKENS": READ,
        }
        return CliRunner().invoke(cli, words, env=environ)

    return run


def test_the_table_names_each_once_and_says_what_to_do() -> None:
    """Names are Prometheus' labels and are alerted on: they are words of one kind, and stay."""
    names = [kind.name for kind in ALARMS]
    assert set(names) == set(RING)
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z][a-z_]+", name) for name in names)
    assert all(kind.remedy for kind in ALARMS)


@EACH
def test_every_alarm_is_seen_wherever_alarms_are_shown(
    kind: AlarmKind, engine: Engine, app: Flask, reader: FlaskClient, run: Run
) -> None:
    """Metrics, API, console, status, doctor: name and title, what is seen, what to do."""
    ring(engine, kind)
    bearer = {"Authorization": BEARER + READ}
    (told,) = app.test_client().get("/api/status", headers=bearer).get_json()["alarms"]
    assert (told["name"], told["remedy"]) == (kind.name, kind.remedy)
    metrics = app.test_client().get("/metrics", headers=bearer).text
    values = dict(re.findall(r'^recall_links_alarm\{name="(\w+)"\} (\S+)$', metrics, re.MULTILINE))
    assert values == {one.name: "1.0" if one is kind else "0.0" for one in ALARMS}
    # Without the links that a remedy's addresses are.
    shown = re.sub(r"</?a\b[^>]*>", "", reader.get("/console/").text)
    page = re.sub(r"\s+", " ", unescape(shown))
    status, doctor = run("status"), run("doctor", "--offline")
    for place in (page, status.output, doctor.output):
        for words in (kind.name, kind.title, told["text"], kind.remedy):
            assert words in place
    assert json.loads(run("status", "--json").stdout)["alarms"] == [told]
    findings = json.loads(run("doctor", "--offline", "--json").stdout)["findings"]
    assert {"level": "failed", "is_away": False, **told} in findings


@EACH
def test_status_and_doctor_end_with_1_while_an_alarm_rings(
    kind: AlarmKind, engine: Engine, run: Run
) -> None:
    """One meaning for a script that watches, whichever it calls."""
    ring(engine, kind)
    assert (run("status").exit_code, run("doctor", "--offline").exit_code) == (1, 1)


def test_status_and_doctor_end_with_0_where_none_rings(engine: Engine, run: Run) -> None:
    """Also where the doctor has warnings, as of a Redis that is not set."""
    a_worker(engine)
    doctor = run("doctor", "--offline")
    assert (run("status").exit_code, doctor.exit_code) == (0, 0)
    assert "warning" in doctor.output


@EACH
def test_every_alarm_is_documented(kind: AlarmKind) -> None:
    """It has a row in a table of the documentation that says when it rings."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    lines = [line for page in pages for line in page.read_text().splitlines()]
    assert len([line for line in lines if line.startswith(f"| `{kind.name}` |")]) == 1
