"""What looking after the calendars found, as the console shows it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import Engine, insert

from models.base import db_now
from models.care import CalendarFinding, Reconciled, ReconcileRun, missed_in_words
from tests.conftest import MakeSettings
from tests.console_client import logged_in
from tests.furnished import READ
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
    assert "2 bots and 5 statuses missed, of 9 bots" in page
    assert '<a href="/console/calendar/findings">1 two_bots_on_one_meeting</a>' in page


def test_findings_are_listed_and_escaped(engine: Engine, app: Flask) -> None:
    """A finding is listed with its bots, and its text is no markup."""
    found_something(engine)
    page = logged_in(app, READ).get("/console/calendar/findings").text
    assert "&lt;b&gt;m&lt;/b&gt;" in page
    assert f"/console/bots/{BOT_ID}" in page


def test_no_findings_are_said_to_be_none(app: Flask) -> None:
    """An empty list is a sentence; a stranger is sent to the login."""
    assert "None." in logged_in(app, READ).get("/console/calendar/findings").text
    assert app.test_client().get("/console/calendar/findings").status_code == 302


def test_an_incomplete_reconcile_is_said_to_be() -> None:
    """A run that ended early is not taken for a whole one."""
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    words = missed_in_words(Reconciled(at, None, 9, 2, 5, is_complete=False))
    assert words == "2026-01-02 03:04Z: 2 bots and 5 statuses missed, of 9 bots, not complete"
