"""One delivery that cannot be stored: it alone is refused, by a word of its own."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from flask import Flask
from sqlalchemy import Engine, text

from models.settings.environment import Settings
from models.tables.delivery import Delivery
from tests.conftest import MakeSettings, migrate, new_database
from tests.support.rows import rows
from tests.webhook.receiver.test_storage import copies, row, soon
from tests.webhook.receiver.test_views import NOW, done, post
from webhook.app import create_app, resources_of
from webhook.receiver.insert import MOST_ROWS, Stored
from webhook.receiver.storage import DatabaseAwayError, Inbox, LockedError

# What a row may hold, by the error that each driver or server has for it.
BAD: dict[str, dict[str, object]] = {
    "no outcome": {"outcome": None},
    "half a character": {"message": "\ud800"},
    "a value of no type": {"message": object()},
    "a zero byte": {"message": "\x00"},
    "a number for a time": {"occurred_at": 7.5},
}
# Whatever a person has put upon the table, or a column that is narrower than ours.
TRIGGERS = {
    "postgresql": """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 IF NEW.message LIKE 'bad%' THEN
  RAISE EXCEPTION 'no' USING ERRCODE = substr(NEW.message, 5);
 END IF;
 RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON deliveries FOR EACH ROW EXECUTE FUNCTION refuse()""",
    "sqlite": """
CREATE TRIGGER refuse BEFORE INSERT ON deliveries WHEN NEW.message LIKE 'bad%'
BEGIN SELECT RAISE(ABORT, 'no'); END""",
}
# A character that the encoding lacks, a value out of range, a constraint.
ROWS_OWN = ("22P05", "22003", "23514")


@pytest.fixture
def inbox(make_settings: MakeSettings) -> Iterator[Inbox]:
    """An inbox on this test's database."""
    inbox = Inbox(make_settings())
    yield inbox
    inbox.close()


@pytest.fixture
def settings(postgres_url: str) -> Iterator[Settings]:
    """Settings for a database of PostgreSQL's alone: SQLite locks no rows."""
    with new_database(postgres_url) as url:
        settings = Settings.read({"DATABASE_URL": url})
        migrate(settings)
        yield settings


@contextmanager
def holding(settings: Settings, statement: str) -> Iterator[None]:
    """Another transaction that has done this, and does not end."""
    url = settings.database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as holder:
        holder.execute(statement)
        yield
        holder.rollback()


def set_trigger(engine: Engine) -> None:
    """Refuse each row whose message begins with bad."""
    with engine.begin() as connection:
        connection.execute(text(TRIGGERS[engine.dialect.name]))


def is_stored(outcome: object) -> bool:
    """Whether it was committed for the first time."""
    return isinstance(outcome, Stored) and outcome.copies == 1


@pytest.mark.parametrize("bad", BAD)
def test_whatever_one_row_holds_the_others_are_stored(
    inbox: Inbox, engine: Engine, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    """In a batch and alone; and the next ones on the same connections."""
    # To show a traceback with its variables takes longer than a batch has.
    monkeypatch.setattr("webhook.receiver.storage.logger.error", lambda *_, **__: None)
    for place in (0, 7, MOST_ROWS - 1):
        batch = [row(f"{place}-{n}") for n in range(MOST_ROWS)]
        batch[place] |= BAD[bad]
        outcomes = inbox.store_all(batch, soon())
        stored = [is_stored(one) for one in outcomes]
        # SQLite keeps some of these: a column there is of any type and length.
        assert [n for n, good in enumerate(stored) if not good] in ([], [place])
        assert engine.dialect.name == "sqlite" or not stored[place]
        assert not any(isinstance(one, DatabaseAwayError) for one in outcomes)
    assert all(is_stored(one) for one in inbox.store_all([row("after")], soon()))


@pytest.mark.parametrize("state", [*ROWS_OWN, "P0001", "XY123"])
def test_what_a_trigger_refuses_is_one_rows_affair(
    inbox: Inbox, engine: Engine, state: str
) -> None:
    """Whatever its condition is called."""
    set_trigger(engine)
    batch = [row("a"), row("b", message=f"bad {state}"), row("c")]
    outcomes = inbox.store_all(batch, soon())
    assert [is_stored(one) for one in outcomes] == [True, False, True]
    assert not isinstance(outcomes[1], DatabaseAwayError)


@pytest.fixture
def app(make_settings: MakeSettings) -> Iterator[Flask]:
    """The application, at a clock of the test's."""
    app = create_app(make_settings(), clock=lambda: NOW)
    yield app
    resources_of(app).close()


@pytest.mark.parametrize("state", ROWS_OWN)
def test_what_can_never_be_stored_is_kept_as_bytes(app: Flask, engine: Engine, state: str) -> None:
    """200, since Recall's repeating it for 27 hours would lose it: malformed, with its body."""
    set_trigger(engine)
    said = done()
    said["data"]["status"]["message"] = f"bad {state}"
    for outcome in ("malformed", "duplicate"):
        response = post(app.test_client(), said)
        assert (response.status_code, response.json["outcome"]) == (200, outcome)  # type: ignore[index]
    [kept] = rows(engine, Delivery)
    assert (kept.outcome, kept.reason, kept.copies) == ("malformed", "not_storable", 2)
    assert json.loads(kept.body) == said


def test_what_may_be_a_fault_of_ours_is_asked_for_again(app: Flask, engine: Engine) -> None:
    """Recall holds it for 27 hours: time to mend what refuses it."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite calls whatever a trigger refuses a constraint")
    set_trigger(engine)
    said = done()
    said["data"]["status"]["message"] = "bad P0001"
    response = post(app.test_client(), said)
    assert (response.status_code, response.json) == (503, {"error": "not_stored"})
    assert response.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    "lock",
    [
        "SELECT 1 FROM deliveries WHERE id = 'locked' FOR UPDATE",
        "UPDATE deliveries SET copies = 7 WHERE id = 'locked'",
        "DELETE FROM deliveries WHERE id = 'locked'",
        """INSERT INTO deliveries (id, outcome, body, scheme, secret_fingerprint, received_at,
 last_received_at, copies) VALUES ('new', 'ignored', '', 'svix', '', now(), now(), 1)""",
    ],
)
def test_a_locked_rows_copy_is_refused_alone_and_closes_nothing(
    settings: Settings, lock: str
) -> None:
    """Also where it arrives by itself, and also where the first one is still being written."""
    inbox = Inbox(settings)
    inbox.store(row("locked"))
    id_ = "new" if "INSERT" in lock else "locked"
    with holding(settings, lock):
        assert copies(inbox.store_all([row(id_)], soon())) == ["LockedError"]
        assert copies(inbox.store_all([row("other")], soon())) == [1]
    assert is_stored(inbox.store(row("new"))) or id_ == "locked"
    inbox.close()


def test_several_locked_rows_leave_time_for_the_rest_of_their_batch(settings: Settings) -> None:
    """They wait for their locks together, once."""
    inbox = Inbox(settings)
    for number in range(6):
        inbox.store(row(f"locked{number}"))
    with holding(settings, "UPDATE deliveries SET copies = 7"):
        started = time.monotonic()
        batch = [row(f"locked{n}") for n in range(6)] + [row(f"free{n}") for n in range(10)]
        outcomes = copies(inbox.store_all(batch, soon()))
        assert time.monotonic() - started < 2.5
    assert outcomes == ["LockedError"] * 6 + [1] * 10
    inbox.close()


def test_a_locked_rows_copies_cost_no_webhook_beside_them(settings: Settings) -> None:
    """They come again and again, while 200 others a second do."""
    inbox = Inbox(settings)
    inbox.store(row("locked"))
    refused: list[Exception] = []

    def copy() -> None:
        for _ in range(2):
            try:
                inbox.store(row("locked"))
            except LockedError as error:
                refused.append(error)

    with holding(settings, "UPDATE deliveries SET copies = 7"):
        copying = threading.Thread(target=copy)
        copying.start()
        stored = 0
        while copying.is_alive():
            assert is_stored(inbox.store(row(f"good{stored}")))
            stored += 1
            copying.join(0.005)
    assert len(refused) == 2
    assert stored > 50
    inbox.close()


def test_a_locked_table_refuses_a_batch_after_one_wait(settings: Settings) -> None:
    """Copies within it as well; and at once whatever comes then."""
    inbox = Inbox(settings)
    inbox.store(row("old"))
    batch = [row(f"m{n % 12}") for n in range(MOST_ROWS - 1)] + [row("old")]
    with holding(settings, "LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE"):
        started = time.monotonic()
        assert copies(inbox.store_all(batch, soon())) == ["DatabaseAwayError"] * MOST_ROWS
        assert time.monotonic() - started < 2
        started = time.monotonic()
        assert copies(inbox.store_all(batch, soon())) == ["DatabaseAwayError"] * MOST_ROWS
        assert time.monotonic() - started < 0.5
    inbox.close()


def test_batches_that_hold_the_same_copies_crosswise_are_stored(settings: Settings) -> None:
    """Each locks them in the same order: none waits for the other's end."""
    inbox = Inbox(settings)
    ids = [f"m{n:02}" for n in range(MOST_ROWS)]
    inbox.store_all([row(id_) for id_ in ids], soon())
    found: list[object] = []

    def store(order: list[str]) -> None:
        for _ in range(20):
            found.extend(inbox.store_all([row(id_) for id_ in order], soon()))

    threads = [threading.Thread(target=store, args=(order,)) for order in (ids, ids[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40 * MOST_ROWS
    assert all(isinstance(one, Stored) for one in found)
    inbox.close()
