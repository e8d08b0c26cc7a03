"""The page of missed meetings, and the alarm that leads there."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert

from models.queries.calendars.nightly_check import NOT_CHECKED
from models.tables.base import db_now
from models.tables.missed_meeting import MissedMeeting
from tests.support.fakes import BOT, MEETINGS
from tests.support.rows import checked_calendars
from webhook.console.rendering import linked
from workers.calendars.schedule import next_nightly_run


def add_missed(engine: Engine, meeting_id: str, **fields: Any) -> None:
    """Store a meeting that was missed just now."""
    times = {name: db_now() for name in ("start_time", "end_time", "found_at")}
    row = {"meeting_id": meeting_id, "reason": "no_bot", "external_id": "ines"}
    with engine.begin() as connection:
        connection.execute(insert(MissedMeeting).values(**times | row | fields))


def test_the_page_leads_to_user_and_bot_and_counts(engine: Engine, reader: FlaskClient) -> None:
    """By reason and by user; a title is no markup."""
    add_missed(engine, MEETINGS[0], title="<b>Talks</b>")
    sub_code = "timeout_exceeded_waiting_room"
    add_missed(engine, MEETINGS[1], reason="not_admitted", sub_code=sub_code, bot_id=BOT)
    page = re.sub(r"\s+", " ", reader.get("/console/missed").text)
    assert "&lt;b&gt;Talks&lt;/b&gt;" in page
    assert "<b>Talks" not in page
    assert '<a href="/console/calendar/user?external_id=ines">' in page
    assert f"/console/bots/{BOT}" in page
    assert '<a href="/console/missed?external_id=ines"><bdi>ines</bdi></a> 2' in page
    assert re.search(r'href="/console/missed\?reason=not_admitted">[\w ]+ 1</a>', page)


def test_the_page_of_one_reason_counts_that_reason(engine: Engine, reader: FlaskClient) -> None:
    """And a filter that nobody knows is refused on the page as well."""
    add_missed(engine, MEETINGS[0])
    add_missed(engine, MEETINGS[1], external_id="omar", reason="bot_failed")
    page = reader.get("/console/missed?reason=bot_failed").text
    assert "/console/missed?external_id=omar" in page
    assert "/console/missed?external_id=ines" not in page
    assert reader.get("/console/missed?reason=weather").status_code == 400


def test_the_alarm_leads_to_the_page(engine: Engine, app: Flask, reader: FlaskClient) -> None:
    """By a link in what to do."""
    add_missed(engine, MEETINGS[0])
    address = "/console/missed?unresolved=1"
    assert f'<a href="{address}">{address}</a>' in reader.get("/console/").text


@pytest.mark.parametrize(
    ("path", "nothing"), [("missed", "No meeting was missed."), ("findings", "No findings.")]
)
def test_nothing_is_said_to_be_found_only_after_a_check(
    engine: Engine, reader: FlaskClient, path: str, nothing: str
) -> None:
    """A night that is only due has looked at nobody."""
    page = reader.get(f"/console/{path}").text
    assert "Not checked yet" in page
    assert nothing not in page
    checked_calendars(engine, users=0)
    assert "Not checked yet" in reader.get(f"/console/{path}").text
    checked_calendars(engine, users=1, failed=1)
    page = reader.get(f"/console/{path}").text
    assert re.search(rf"{nothing} Last nightly check: \S+ \S+ UTC, 1 calendar user, 1 could", page)
    assert "Not checked yet" not in page


def test_the_sentence_names_the_hour_of_the_check() -> None:
    """What is said is when the worker does it."""
    next_check = next_nightly_run(datetime.now(UTC))
    assert f"at {next_check:%H:%M} UTC" in NOT_CHECKED


def test_only_addresses_of_the_console_become_links() -> None:
    """Whatever else is in a text stays text."""
    assert linked("see /console/missed, <a>") == (
        'see <a href="/console/missed">/console/missed</a>, &lt;a&gt;'
    )
