"""People in console and API: a guest is shown, exported and erased by whoever may, and audited."""

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert

from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.calendar import CalendarMeeting, MeetingPerson
from tests.support.console_client import READ, post
from tests.support.dump import dump
from tests.support.fakes import MEETINGS
from tests.support.rows import rows
from webhook.web.auth import BEARER

ADDRESS = "<b>@example.org"
SHOWN = "&lt;b&gt;@example.org"
PAGE = "/console/people"


def add_guest(engine: Engine) -> None:
    """Store a meeting that lists a guest."""
    row = {"id": MEETINGS[0], "start_time": db_now(), "end_time": db_now(), "state": "found"}
    attendees = [{"email": ADDRESS, "name": "Gwen Guest"}]
    with engine.begin() as connection:
        meeting = insert(CalendarMeeting).values(**row, title="Gwen Guest")
        connection.execute(meeting.values(attendees=attendees, organizer_email=ADDRESS))
        connection.execute(insert(MeetingPerson).values(meeting_id=MEETINGS[0], email=ADDRESS))


def test_a_guest_is_exported_and_erased_on_the_page(engine: Engine, writer: FlaskClient) -> None:
    """After the address is typed again; what is left of them is a pseudonym in the audit."""
    add_guest(engine)
    page = writer.get(PAGE, query_string={"email": ADDRESS.upper()}).text
    assert f"<bdi>{SHOWN}</bdi>" in page
    assert ADDRESS not in page
    assert "<code>meeting_people</code>" in page
    export = post(writer, f"{PAGE}/export", email=ADDRESS)
    assert export.mimetype == "application/json"
    assert export.json is not None
    assert export.json["people"][0]["meetings"][0]["title"] == "Gwen Guest"
    assert post(writer, PAGE, email=ADDRESS, typed="another").status_code == 400
    assert ADDRESS in dump(engine)
    erased = post(writer, PAGE, email=ADDRESS, typed=ADDRESS)
    assert erased.status_code == 303
    assert "<h1>Erased</h1>" in writer.get(erased.location).text
    assert ADDRESS not in dump(engine)
    assert [(row.action, row.actor[:6]) for row in rows(engine, Audit)] == [
        ("export", "token "),
        ("erase", "token "),
    ]
    assert "Nothing is stored" in writer.get(PAGE, query_string={"email": ADDRESS}).text
    assert post(writer, f"{PAGE}/export", email=ADDRESS).status_code == 404


def test_a_read_session_sees_counts_alone(engine: Engine, reader: FlaskClient) -> None:
    """No form, no export by hand, and nothing without the page's form token."""
    add_guest(engine)
    page = reader.get(PAGE, query_string={"email": ADDRESS}).text
    assert "<code>meeting_people</code>" in page
    assert 'method="post" action="/console/people' not in page
    for path in (PAGE, f"{PAGE}/export"):
        assert post(reader, path, email=ADDRESS, typed=ADDRESS).status_code == 403
    assert rows(engine, Audit) == []


def test_a_change_needs_the_pages_own_form(engine: Engine, writer: FlaskClient) -> None:
    """And an address that could be stored."""
    add_guest(engine)
    for path in (PAGE, f"{PAGE}/export"):
        assert writer.post(path, data={"email": ADDRESS, "typed": ADDRESS}).status_code == 403
        assert post(writer, path, email="a\0b", typed="a\0b").status_code == 400
    assert writer.get(f"{PAGE}?email=%00").status_code == 400
    assert writer.get(f"{PAGE}/done?result=x").status_code == 400
    assert ADDRESS in dump(engine)


def test_the_api_counts_what_is_stored(engine: Engine, app: Flask) -> None:
    """As JSON and as CSV; of nobody there is nothing, and the address is required."""
    add_guest(engine)
    client, headers = app.test_client(), {"Authorization": BEARER + READ}
    found = client.get("/api/people", query_string={"email": ADDRESS}, headers=headers)
    assert found.json == {
        "items": [
            {"email": ADDRESS, "external_id": None, "kind": kind, "rows": 1}
            for kind in ("calendar_meetings", "meeting_people")
        ],
        "next": None,
    }
    query = {"email": ADDRESS, "format": "csv"}
    text = client.get("/api/people", query_string=query, headers=headers).text
    assert text.splitlines()[1] == f"{ADDRESS},,calendar_meetings,1"
    assert client.get("/api/people?email=x", headers=headers).json == {"items": [], "next": None}
    refused = client.get("/api/people", headers=headers)
    assert (refused.status_code, (refused.json or {})["parameter"]) == (400, "email")
