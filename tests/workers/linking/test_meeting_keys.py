"""Meeting keys in the database: written with the meeting, kept true when it moves, made later."""

from dataclasses import replace

from sqlalchemy import Engine, update

from models.core.meeting_key import meeting_key
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from tests.support.bulk_data import populate
from tests.support.fakes import START, ref
from tests.support.query_plans import statements_of
from tests.support.rows import later, rows
from tests.workers.linking.test_save_bots import found, owed
from workers.linking.meeting_keys import fill_meeting_keys
from workers.linking.save_links import write_meetings
from workers.linking.types import MeetingResult

UID = "4l2h0c7v@calendar.example"
ZOOM = {"zoom_invite": {"meeting_id": "98765432101"}}


def write(engine: Engine, *meetings: MeetingResult) -> None:
    """Write meetings as a settle does."""
    with engine.begin() as connection:
        write_meetings(connection, meetings)


def keys(engine: Engine) -> list[str | None]:
    """The keys of all meetings."""
    return [row.meeting_key for row in rows(engine, CalendarMeeting)]


def fill(engine: Engine) -> int:
    """Make the keys that are missing, as a worker does each minute."""
    with engine.begin() as connection:
        return fill_meeting_keys(connection, 500)


def test_copies_of_one_meeting_have_one_key(engine: Engine) -> None:
    """By the UID, or where a body has none by its room; of what has neither, no key."""
    write(engine, found(0, ical_uid=UID), found(1, ical_uid=UID))
    write(engine, found(2, ical_uid=None, details=ZOOM), found(3, ical_uid=None, details={}))
    by_uid, by_room = meeting_key(UID, START), meeting_key(None, START, ZOOM)
    assert keys(engine) == [by_uid, by_uid, by_room, None]
    assert fill(engine) == 0


def test_the_key_goes_by_the_meetings_own_start(engine: Engine) -> None:
    """After a reschedule the bot's body may tell the old one."""
    write(engine, found(0, ical_uid=UID, start_time=later(3600)))
    assert keys(engine) == [meeting_key(UID, later(3600))]


def test_a_meeting_that_moved_and_cannot_be_read_is_another_meeting(engine: Engine) -> None:
    """Its UID is known from before; the key is made of that and of the new start."""
    write(engine, found(0, ical_uid=UID), found(1, ical_uid=UID))
    moved = MeetingResult(ref(1), "gone", "http_404", fetched_at=START)
    write(engine, moved, owed(0))
    assert keys(engine) == [meeting_key(UID, START)] * 2
    to = replace(ref(1), start_time=later(3600), end_time=later(5400))
    write(engine, MeetingResult(to, "gone", "http_404", fetched_at=START))
    assert keys(engine) == [meeting_key(UID, START), None]
    assert fill(engine) == 1
    assert keys(engine) == [meeting_key(UID, START), meeting_key(UID, later(3600))]


def test_what_an_old_release_writes_gets_its_key_from_a_worker(engine: Engine) -> None:
    """Within a minute, and the link counts as changed; without a UID there is no key to make."""
    populate(engine, 10)
    with engine.begin() as connection:
        connection.execute(update(CalendarMeeting).values(meeting_key=None))
    write(engine, found(0, ical_uid=None))
    before = rows(engine, CalendarMeeting)
    old = {row.updated_at for row in rows(engine, Link)}
    assert fill(engine) == len(before) - 1
    assert keys(engine) == [
        meeting_key(row.ical_uid, row.start_time) if row.ical_uid else None for row in before
    ]
    assert old.isdisjoint(row.updated_at for row in rows(engine, Link))
    assert fill(engine) == 0


def test_looking_for_missing_keys_reads_no_table(engine: Engine) -> None:
    """Every worker looks each minute: an index holds the rows in question alone."""
    populate(engine, 3000)
    with engine.begin() as connection:
        ((statement, values),) = statements_of(connection, lambda: fill_meeting_keys(connection, 9))
        explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
        plan = connection.exec_driver_sql(explain + statement, values).all()
    assert "ix_calendar_meetings_keyless" in str(plan)
