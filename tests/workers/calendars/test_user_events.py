"""Who connected, disconnected and is gone is told once, in the transaction that stores it."""

from typing import Any

from sqlalchemy import Engine, update

from models.tables.calendar import CalendarUser
from models.tables.event import Event
from tests.support.rows import rows
from tests.workers.calendars.test_user_list import WHO, listed
from workers.calendars.user_list import keep_users, mark_gone, time_of_list


def told(engine: Engine) -> list[tuple[str, Any]]:
    """Each event's type and platform, in order."""
    return [(event.type, event.data["platform"]) for event in rows(engine, Event)]


def keep(engine: Engine, *, connected: bool) -> None:
    """Store what a list of this moment says."""
    keep_users(engine, [listed(connected=connected)], time_of_list(engine))


def test_each_change_of_a_connection_is_told_once(engine: Engine) -> None:
    """The same list again is no news."""
    for connected in (True, True, False, False, True):
        keep(engine, connected=connected)
    assert told(engine) == [
        ("calendar_user.connected", "google"),
        ("calendar_user.disconnected", "google"),
        ("calendar_user.connected", "google"),
    ]
    (event, *_) = rows(engine, Event)
    assert event.external_id == event.data["external_id"] == WHO


def test_who_is_gone_is_told_once(engine: Engine) -> None:
    """Also when somebody marks them again."""
    keep(engine, connected=True)
    for _ in range(2):
        with engine.begin() as connection:
            mark_gone(connection, CalendarUser.seen_at.is_not(None))
    assert told(engine)[1:] == [("calendar_user.gone", None)]


def test_what_an_older_release_left_empty_is_no_news(engine: Engine) -> None:
    """Else a deployment would tell of every user there is."""
    keep(engine, connected=True)
    with engine.begin() as connection:
        connection.execute(update(CalendarUser).values(google_connected=None))
    keep(engine, connected=True)
    assert len(told(engine)) == 1
