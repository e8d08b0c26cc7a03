"""Readyz on a database that answers every question and takes nothing."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

from models.core.engine import make_engine
from models.settings.environment import Settings
from models.tables.delivery import Delivery
from tests.conftest import MakeSettings
from tests.support.processes import until
from tests.support.rows import count
from tests.webhook.receiver.test_views import NOW, done, post
from webhook.app import create_app, resources_of
from webhook.receiver.write_check import TRY_SECONDS, LastWrite, WriteCheck

SAID = {"postgresql": "no room", "sqlite": "database or disk is full"}
# SQLite's limit is each connection's own, and never below what there is.
AT_MOST = "PRAGMA max_page_count = 1"
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
 BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON deliveries FOR EACH ROW EXECUTE FUNCTION refuse()"""


@contextmanager
def full(engine: Engine) -> Iterator[None]:
    """A database without room: by SQLite's own limit, or PostgreSQL's error for it."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            # What was freed would be room.
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("BEGIN")
        limit: Callable[..., object] = lambda driver, _: driver.execute(AT_MOST)  # noqa: E731
        event.listen(Engine, "connect", limit)
        yield
        event.remove(Engine, "connect", limit)
        return
    with engine.begin() as connection:
        connection.execute(text(REFUSE))
    yield
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER refuse ON deliveries"))


@contextmanager
def an_app(make_settings: MakeSettings) -> Iterator[FlaskClient]:
    """A client of an application whose connections are new."""
    app: Flask = create_app(make_settings(), clock=lambda: NOW)
    yield app.test_client()
    resources_of(app).close()


def database(client: FlaskClient) -> str:
    """What readyz says of it, with the status that goes with that."""
    response = client.get("/readyz")
    said: str = response.get_json()["checks"]["database"]
    assert response.status_code == (200 if said == "ok" else 503)
    return said


def test_a_webhook_that_finds_the_disk_full_is_told_by_readyz(
    make_settings: MakeSettings, engine: Engine
) -> None:
    """At once, with the server's word; and the next that is stored ends it."""
    with an_app(make_settings) as client:
        with full(engine):
            # SQLite has room for a few in the pages that there are.
            statuses = [post(client, done(), message_id=f"msg_{n}").status_code for n in range(60)]
            assert statuses[-1] == 503
            assert database(client) == f"cannot be written: {SAID[engine.dialect.name]}"
        if engine.dialect.name == "postgresql":
            assert post(client, done(), message_id="msg_last").status_code == 202
            assert database(client) == "ok"


def test_readyz_finds_a_full_disk_that_no_webhook_has_met(
    make_settings: MakeSettings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a try in the background, which leaves nothing; and another finds it mended."""
    monkeypatch.setattr("webhook.receiver.write_check.TRY_SECONDS", 0)
    before = count(engine, Delivery)
    with full(engine), an_app(make_settings) as client:
        until(lambda: database(client) != "ok", "readyz saying no", 20)
        assert database(client).startswith("cannot be written: ")
    with an_app(make_settings) as client:
        until(lambda: database(client) == "ok", "readyz saying yes", 20)
    assert count(engine, Delivery) == before


class Engines:
    """Counts its transactions, and has an end of its own for each."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.count = 0

    def begin(self) -> Engine:
        """Begin none."""
        self.count += 1
        self.begun.release()
        raise OperationalError("INSERT", None, TimeoutError("gone"))


def test_readyz_writes_once_in_its_time_however_often_it_is_asked() -> None:
    """And not at all while webhooks are stored."""
    now = [0.0]
    engines, last = Engines(), LastWrite(lambda: now[0])
    check = WriteCheck(cast("Engine", engines), last)
    for _ in range(50):
        check.reason()
    assert engines.begun.acquire(timeout=5)
    now[0] = TRY_SECONDS - 1
    last.succeeded()
    now[0] = 2 * TRY_SECONDS - 2
    check.reason()
    now[0] += 2
    check.reason()
    assert engines.begun.acquire(timeout=5)
    assert engines.count == 2


def test_a_lock_or_a_lost_connection_is_no_full_disk() -> None:
    """They pass by themselves, and a load balancer that leaves makes nothing better."""
    last = LastWrite()
    for error in (TimeoutError(), OSError("gone"), ValueError()):
        last.failed(error)
    assert last.reason is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes; only root may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_is_really_full_is_told_and_comes_back(
    small_disk: Path, sqlite_template: Path
) -> None:
    """The file system's own refusal, by SQLite's word."""
    file = small_disk / "links.db"
    file.write_bytes(sqlite_template.read_bytes())
    settings = Settings.read({"DATABASE_URL": f"sqlite:///{file}"})
    engine, last = make_engine(settings, "write"), LastWrite()
    check = WriteCheck(engine, last)
    check._try()
    assert last.reason is None
    with (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while ballast.tell() < 4 * 1024 * 1024:
            try:
                ballast.write(bytes(4096))
            except OSError:
                break
    check._try()
    assert last.reason is not None
    (small_disk / "ballast").unlink()
    check._try()
    assert last.reason is None
    engine.dispose()
