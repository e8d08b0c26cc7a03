"""The inbox when the database is slow, locked, gone, frozen or read-only: an answer within 5 s."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text

from models.settings.environment import Settings
from tests.conftest import MakeSettings, migrate, new_database
from tests.lab.stack.postgres import stop_postgres
from tests.lab.stack.servers import Server
from webhook.receiver.insert import MOST_ROWS, Outcome, Stored
from webhook.receiver.storage import CONNECTIONS, STORE_SECONDS, DatabaseAwayError, Inbox

LIMIT = 5.0


def row(message_id: str = "msg_1", **fields: Any) -> dict[str, Any]:
    """A delivery as the receiver stores it."""
    names = ("event", "reason", "bot_id", "code", "sub_code", "message", "occurred_at")
    given = dict.fromkeys(names) | {"id": message_id, "outcome": "ignored", "body": b"{}"}
    return given | {"scheme": "svix", "secret_fingerprint": "0" * 12} | fields


def seconds_to_refuse(inbox: Inbox, message_id: str = "msg_1") -> float:
    """How long it takes to say that the database is away."""
    started = time.monotonic()
    with pytest.raises(DatabaseAwayError):
        inbox.store(row(message_id))
    return time.monotonic() - started


@pytest.fixture
def inbox(make_settings: MakeSettings) -> Iterator[Inbox]:
    """An inbox on this test's database."""
    inbox = Inbox(make_settings())
    yield inbox
    inbox.close()


@pytest.fixture
def settings(own_postgres: Server) -> Iterator[Settings]:
    """Settings for a migrated database on it."""
    with new_database(own_postgres.url) as url:
        settings = Settings.read({"DATABASE_URL": url})
        migrate(settings)
        yield settings


def test_a_copy_is_counted_and_compared(inbox: Inbox) -> None:
    """The first body stands; a copy that differs is known as such."""
    assert inbox.store(row()).copies == 1
    again = inbox.store(row())
    assert (again.copies, again.is_same_body) == (2, True)
    other = inbox.store(row(body=b"other"))
    assert (other.copies, other.is_same_body) == (3, False)


def copies(outcomes: list[Outcome]) -> list[object]:
    """What became of each: how many copies there are, or the error's name."""
    return [one.copies if isinstance(one, Stored) else type(one).__name__ for one in outcomes]


def soon() -> float:
    """The time by which a batch of now must have an outcome."""
    return time.monotonic() + STORE_SECONDS


def test_a_batch_tells_each_what_became_of_it(inbox: Inbox) -> None:
    """Also of copies, within the batch and of what was there before."""
    inbox.store(row("old"))
    ids = ["a", "old", "b", "a", "a"]
    batch = [row(id_, body=b"x") for id_ in ids]
    outcomes = inbox.store_all(batch, soon())
    assert copies(outcomes) == [1, 2, 1, 2, 3]
    same = [one.is_same_body for one in outcomes if isinstance(one, Stored)]
    assert same == [True, False, True, True, True]


def test_a_full_batch_is_one_commit(make_settings: MakeSettings, engine: Engine) -> None:
    """However many there are in it."""
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite does not tell which commit a row is of")
    inbox = Inbox(make_settings())
    assert copies(inbox.store_all([row(f"m{n}") for n in range(MOST_ROWS)], soon())) == [1] * 16
    with engine.connect() as connection:
        commits = connection.scalar(text("SELECT count(DISTINCT xmin::text) FROM deliveries"))
    assert commits == 1
    inbox.close()


def test_a_row_that_cannot_be_stored_costs_the_others_nothing(inbox: Inbox) -> None:
    """The batch is stored one by one; nobody is made to wait afterwards."""
    batch = [row("a"), row("bad", outcome=None), row("b")]
    assert copies(inbox.store_all(batch, soon())) == [1, "UnstorableError", 1]
    assert inbox.store(row("c")).copies == 1


def test_a_batch_whose_time_is_over_is_not_begun(inbox: Inbox) -> None:
    """Its senders have been told, or have left."""
    assert copies(inbox.store_all([row()], time.monotonic() - 1)) == ["DatabaseAwayError"]
    assert inbox.store(row()).copies == 1


def test_a_locked_row_keeps_only_its_own_copy_from_being_stored(
    settings: Settings, own_postgres: Server
) -> None:
    """The rest of its batch is stored within the same five seconds."""
    inbox = Inbox(settings)
    inbox.store(row("locked"))
    url = settings.database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as holder:
        holder.execute("UPDATE deliveries SET copies = 7 WHERE id = 'locked'")
        started = time.monotonic()
        outcomes = inbox.store_all([row("a"), row("locked"), row("b")], soon())
        assert time.monotonic() - started < LIMIT
    assert copies(outcomes) == [1, "LockedError", 1]
    inbox.close()


def test_many_threads_share_a_few_connections(inbox: Inbox) -> None:
    """Every message is stored once."""
    stored: list[int] = []

    def run(start: int) -> None:
        stored.extend(inbox.store(row(f"m{n}")).copies for n in range(start, start + 25))

    threads = [threading.Thread(target=run, args=(25 * n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored == [1] * 400


def test_a_locked_sqlite_is_503_in_time(
    make_settings: MakeSettings, tmp_path: Path, sqlite_template: Path
) -> None:
    """Then at once for two seconds, and as before when the lock is gone."""
    settings = make_settings(DATABASE_URL=f"sqlite:///{tmp_path / 'locked.db'}")
    (tmp_path / "locked.db").write_bytes(sqlite_template.read_bytes())
    inbox = Inbox(settings)
    inbox.store(row())
    writer = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert 1 < seconds_to_refuse(inbox) < LIMIT
    assert seconds_to_refuse(inbox) < 0.5
    writer.execute("ROLLBACK")
    writer.close()
    time.sleep(2)
    assert inbox.store(row("msg_2")).copies == 1
    inbox.close()


def test_a_locked_table_is_503_in_time(settings: Settings, own_postgres: Server) -> None:
    """A migration's lock, say; nobody piles up behind it."""
    inbox = Inbox(settings)
    inbox.store(row())
    url = settings.database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
        assert seconds_to_refuse(inbox) < LIMIT
        assert seconds_to_refuse(inbox) < 0.5
    inbox.close()


def test_a_read_only_database_is_503_at_once(settings: Settings, own_postgres: Server) -> None:
    """A fail-over leaves one for a while."""
    name = make_url(settings.database_url).database
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        inbox = Inbox(settings)
        assert seconds_to_refuse(inbox) < 1
        admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert inbox.store(row()).copies == 1
    inbox.close()


def test_a_restarted_server_costs_no_message(settings: Settings, own_postgres: Server) -> None:
    """A connection that died while idle is replaced, and the statement tried again."""
    inbox = Inbox(settings)
    inbox.store(row())
    stop_postgres(own_postgres)
    assert seconds_to_refuse(inbox, "msg_2") < 1
    own_postgres.start_again()
    assert inbox.store(row("msg_2")).copies == 1
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )
    assert inbox.store(row("msg_3")).copies == 1
    inbox.close()


def test_a_frozen_server_is_503_in_time(settings: Settings, own_postgres: Server) -> None:
    """On connections that were open, where no timeout of PostgreSQL's counts; then at once."""
    inbox = Inbox(settings)
    threads = [threading.Thread(target=inbox.store, args=(row(f"m{n}"),)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with psycopg.connect(own_postgres.url) as admin:
        pids = [pid for (pid,) in admin.execute("SELECT pid FROM pg_stat_activity WHERE pid > 0")]
    frozen = [own_postgres.process.pid, *pids]
    for pid in frozen:
        _signal(pid, signal.SIGSTOP)
    try:
        waits: list[float] = []

        def refuse(number: int) -> None:
            waits.append(seconds_to_refuse(inbox, f"frozen{number}"))

        threads = [threading.Thread(target=refuse, args=(n,)) for n in range(3 * CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert max(waits) < LIMIT
        assert seconds_to_refuse(inbox) < 0.5
    finally:
        for pid in frozen:
            _signal(pid, signal.SIGCONT)
    time.sleep(2)
    assert inbox.store(row("thawed")).copies == 1
    inbox.close()


def _signal(pid: int, sig: signal.Signals) -> None:
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        return


def test_no_connection_to_spare_is_503(settings: Settings, own_postgres: Server) -> None:
    """Another program has taken the plan's last one."""
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        admin.execute("CREATE ROLE narrow LOGIN CONNECTION LIMIT 1")
        admin.execute("GRANT pg_write_all_data, pg_read_all_data TO narrow")
        narrow = settings.database_url.set(username="narrow")
        taken = psycopg.connect(
            narrow.set(drivername="postgresql").render_as_string(hide_password=False)
        )
        url = narrow.render_as_string(hide_password=False)
        inbox = Inbox(Settings.read({"DATABASE_URL": url}))
        assert seconds_to_refuse(inbox) < 1
        taken.close()
        while True:
            try:
                assert inbox.store(row()).copies == 1
                break
            except DatabaseAwayError:
                time.sleep(0.05)
        inbox.close()
        admin.execute("REVOKE pg_write_all_data, pg_read_all_data FROM narrow")
        admin.execute("DROP ROLE narrow")


def test_a_missing_server_is_503(make_settings: MakeSettings) -> None:
    """Refused at the door."""
    inbox = Inbox(make_settings(DATABASE_URL="postgresql://postgres@127.0.0.1:9/nothing"))
    assert seconds_to_refuse(inbox) < LIMIT
    inbox.close()
