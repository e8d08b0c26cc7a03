"""Who connected, disconnected and is gone is told once, in the transaction that stores it."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from models.core.engine import make_engine
from models.tables.calendar import CalendarUser
from models.tables.event import Event
from tests.conftest import MakeSettings
from tests.support.rows import rows
from tests.workers.calendars.test_user_list import WHO, listed
from workers.calendars.user_list import keep_users, mark_gone, time_of_list, write_part


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


def test_who_was_gone_and_returns_is_connected(engine: Engine) -> None:
    """Their going ended each connection; one that does not return with them is not ended again."""
    for connected in (True, True, False):
        keep(engine, connected=connected)
        with engine.begin() as connection:
            mark_gone(connection, CalendarUser.seen_at.is_not(None))
    going, coming = ("calendar_user.gone", None), ("calendar_user.connected", "google")
    assert told(engine) == [coming, going, coming, going, going]


@pytest.mark.parametrize("connected", [True, False])
def test_who_is_linked_before_they_are_listed_is_told_of(
    engine: Engine, *, connected: bool
) -> None:
    """A link names a user without a word on their calendars."""
    other = replace(listed(connected=False), id="another", external_id="another")
    keep_users(engine, [other], time_of_list(engine))
    named(engine)
    keep(engine, connected=connected)
    assert told(engine) == [("calendar_user.connected", "google")] * connected


def test_the_first_list_is_no_news_of_whom_links_have_named(engine: Engine) -> None:
    """A release that kept no list has left a row of everybody; the list comes in parts."""
    named(engine)
    other = replace(listed(connected=False), id="another", external_id="another")
    at = time_of_list(engine)
    for one in (other, listed(connected=True)):
        keep_users(engine, [one], at)
    assert told(engine) == []


def named(engine: Engine) -> None:
    """Name the user as a link does."""
    with engine.begin() as connection:
        connection.execute(
            insert(CalendarUser).values(id=listed(connected=True).id, external_id=WHO)
        )


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_lists_tell_of_a_new_user_once(engine: Engine, make_settings: MakeSettings) -> None:
    """The second waits for the first, and finds the user connected."""
    user, at = listed(connected=True), time_of_list(engine)
    other = make_engine(make_settings(), "write")
    second = threading.Thread(target=lambda: keep_users(other, [user], at))
    with engine.begin() as connection:
        write_part(connection, users=[user], at=at)
        second.start()
        # On a connection of its own: it is waiting for the user's row.
        with engine.connect() as watcher:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            while second.is_alive() and not watcher.exec_driver_sql(waiting).scalar():
                watcher.rollback()
    second.join(10)
    other.dispose()
    assert told(engine) == [("calendar_user.connected", "google")]
