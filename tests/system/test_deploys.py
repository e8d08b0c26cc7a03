"""A dyno's life: releases, daily restarts, servers that come later, clocks that are wrong."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy import Engine, create_engine, func, make_url, select, text

from models.settings.environment import Settings
from models.tables.bot import Bot
from models.tables.delivery import Delivery
from models.tables.link import LinkAttempt
from models.tables.schema_version import HEAD
from tests.conftest import SECRET, migrate, new_database
from tests.faults.stack import PATH, a_rig, doom, webhooks_of
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Receipt
from tests.lab.sender.sender import Sender
from tests.lab.stack.postgres import stop_postgres
from tests.lab.stack.servers import Server, free_port
from tests.lab.stack.stack import Process, procfile
from tests.support.processes import environ_for, until
from tests.support.rows import add_delivery, rows

ONE_IN_CI = ("postgresql", pytest.param("sqlite", marks=pytest.mark.faults))


class Router:
    """A router before web dynos, as platforms have: new connections go to whoever says ready."""

    def __init__(self) -> None:
        self.backends: list[int] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._over = threading.Event()
        self._turn = itertools.count()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._over.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        ready = [port for port in self.backends if is_ready(port)]
        address = ("127.0.0.1", ready[next(self._turn) % len(ready)])
        with client, socket.create_connection(address) as backend:
            there = threading.Thread(target=pump, args=(client, backend), daemon=True)
            there.start()
            pump(backend, client)
            there.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes until one side ends, and tell the other."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for line in (source, sink):
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


def is_ready(port: int) -> bool:
    """Whether this web process says that it may be sent requests."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def a_line(name: str, environ: dict[str, str], folder: Path) -> Iterator[Process]:
    """One more dyno of a line of the Procfile."""
    log = folder / f"{name}.{environ['PORT']}.log"
    process = Process(name, procfile()[name], environ, log)
    process.start()
    try:
        yield process
    finally:
        process.stop()


@pytest.mark.parametrize("database_url", ONE_IN_CI, indirect=True)
def test_a_rolling_release_under_load_loses_and_delays_nothing(
    database_url: str, engine: Engine, own_redis: Server, tmp_path: Path
) -> None:
    """Every webhook is taken at its first attempt, and no bot waits for the old dynos' leases."""
    router = Router()
    with FakeRecall(limits=False, latency_ms=50) as recall:
        given = {"REDIS_URL": own_redis.url, "RECALL_RATE_SHARE": 100_000}
        old = environ_for(database_url, recall, **given)
        new = old | {"PORT": str(free_port())}
        with a_line("web", old, tmp_path) as old_web, a_line("worker", old, tmp_path) as old_worker:
            until(lambda: is_ready(int(old["PORT"])), "the old web")
            router.backends.append(int(old["PORT"]))
            over = threading.Event()
            receipts: list[Receipt] = []
            arguments = (f"http://127.0.0.1:{router.port}{PATH}", recall, over, receipts)
            sending = threading.Thread(target=send_until, args=arguments)
            sending.start()
            with a_line("web", new, tmp_path), a_line("worker", new, tmp_path):
                until(lambda: is_ready(int(new["PORT"])), "the new web")
                router.backends.append(int(new["PORT"]))
                codes = stop_timed(old_web, old_worker)
                over.set()
                sending.join()
                bots = len(recall.world.bots)
                until(lambda: count_sealed(engine) == bots, "every link")
    router.close()
    assert codes == [0, 0]
    assert [receipt.reply.error for receipt in receipts if not receipt.is_taken] == []
    assert max(receipt.reply.ms for receipt in receipts) < 5000
    # From the webhook that made it due to its settle: a lost lease would have cost 20 s.
    assert max(waits(engine)) < 12
    assert {row.crashes for row in rows(engine, Bot)} == {0}


def send_until(
    url: str, recall: FakeRecall, over: threading.Event, receipts: list[Receipt]
) -> None:
    """Let bots come until it is over; every webhook is tried once."""
    while not over.is_set():
        webhooks = webhooks_of(recall.build.populate(16), recall.build.rng)
        receipts += Sender(url, [SECRET], connections=6, rate=40).run(webhooks)


def stop_timed(*processes: Process) -> list[int]:
    """Stop dynos as a release does; each must have ended in under 20 s."""
    started = time.monotonic()
    codes = [process.stop() for process in processes]
    assert time.monotonic() - started < 20
    return codes


def count_sealed(engine: Engine) -> int:
    """How many bots' last words are linked."""
    return sum(row.sealed_at is not None and row.due_at is None for row in rows(engine, Bot))


def waits(engine: Engine) -> list[float]:
    """For each bot, the seconds from its last webhook to its last settle."""
    latest = select(Delivery.bot_id, func.max(Delivery.received_at)).group_by(Delivery.bot_id)
    with engine.connect() as connection:
        received = {row[0]: row[1] for row in connection.execute(latest)}
    return [(row.settled_at - received[row.id]).total_seconds() for row in rows(engine, Bot)]


def test_a_worker_started_before_its_tables_waits_for_them(
    tmp_path: Path, recall: FakeRecall
) -> None:
    """The release line runs while it says that it waits; then it links."""
    url = f"sqlite:///{tmp_path / 'late.db'}"
    environ = environ_for(url, recall, SWEEP_SECONDS=0.3)
    with a_line("worker", environ, tmp_path) as worker:
        until(lambda: "waiting for the database" in worker.last_words(100_000), "a word of it")
        migrate(Settings.read(environ))
        engine = create_engine(url)
        assert links_a_bot(engine, recall)
        engine.dispose()
        assert worker.code is None


def test_dynos_started_before_their_postgres_wait_for_it(
    own_postgres: Server, own_redis: Server, recall: FakeRecall, tmp_path: Path
) -> None:
    """The worker says so, the web answers 503, neither ends, and both work when it is there."""
    with new_database(own_postgres.url) as url:
        environ = environ_for(url, recall, REDIS_URL=own_redis.url, SWEEP_SECONDS=0.3)
        settings = Settings.read(environ)
        migrate(settings)
        stop_postgres(own_postgres)
        with a_line("web", environ, tmp_path) as web, a_line("worker", environ, tmp_path) as worker:
            until(lambda: "waiting for the database" in worker.last_words(), "a word of it")
            until(lambda: "listening" in web.last_words(), "the web")
            sender = Sender(f"http://127.0.0.1:{environ['PORT']}{PATH}", [SECRET])
            (webhook, *_) = webhooks_of(recall.build.populate(1), recall.build.rng)
            assert sender.send(webhook).status == 503
            own_postgres.start_again()
            until(lambda: sender.send(webhook).is_taken, "taking it")
            engine = create_engine(settings.database_url)
            assert links_a_bot(engine, recall)
            engine.dispose()
            assert [web.code, worker.code] == [None, None]


def links_a_bot(engine: Engine, recall: FakeRecall) -> bool:
    """Whether the workers link a bot that comes now."""
    bot = recall.build.bot([recall.build.meeting(recall.build.user())])
    add_delivery(engine, bot.id, "joining_call")
    until(lambda: rows(engine, Bot, id=bot.id) != [], "the bot")
    until(lambda: rows(engine, Bot, id=bot.id)[0].link_state == "linked", "the link")
    return True


def release(environ: dict[str, str], folder: Path, number: int = 0) -> Process:
    """Start the release line."""
    process = Process("release", procfile()["release"], environ, folder / f"release.{number}.log")
    process.start()
    return process


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_releases_at_once_migrate_one_after_the_other(
    request: pytest.FixtureRequest, recall: FakeRecall, tmp_path: Path, kind: str
) -> None:
    """Of three that start together on an empty database each ends well."""
    with empty_database(request, tmp_path, kind) as url:
        environ = environ_for(url, recall)
        releases = [release(environ, tmp_path, number) for number in range(3)]
        assert [process.wait(60) for process in releases] == [0, 0, 0], [
            process.last_words() for process in releases
        ]
        assert versions(url) == [HEAD]


@contextmanager
def empty_database(request: pytest.FixtureRequest, folder: Path, kind: str) -> Iterator[str]:
    """A database without tables."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'empty.db'}"
        return
    with new_database(request.getfixturevalue("postgres_url")) as url:
        yield url


def versions(url: str) -> list[str]:
    """The revision that a database is at."""
    engine = create_engine(Settings.read({"DATABASE_URL": url}).database_url)
    with engine.connect() as connection:
        found = connection.scalars(text("SELECT version_num FROM alembic_version")).all()
    engine.dispose()
    return [str(one) for one in found]


def test_a_migration_behind_a_busy_table_gives_up_soon(
    postgres_url: str, recall: FakeRecall, tmp_path: Path
) -> None:
    """Whoever comes after it would wait as well: it fails within its lock_timeout, undone whole."""
    with new_database(postgres_url) as url:
        migrate(Settings.read({"DATABASE_URL": url}), "0001")
        with psycopg.connect(make_url(url).render_as_string(hide_password=False)) as reader:
            reader.execute("LOCK TABLE deliveries, bots IN ROW EXCLUSIVE MODE")
            started = time.monotonic()
            blocked = release(environ_for(url, recall), tmp_path)
            assert blocked.wait(30) != 0
            # 3 s for the lock; the rest is Python's own start on a busy machine.
            assert time.monotonic() - started < 20
            assert "lock timeout" in blocked.last_words()
        assert versions(url) == ["0001"]
        assert release(environ_for(url, recall), tmp_path).wait(60) == 0
        assert versions(url) == [HEAD]


def test_workers_with_wrong_clocks_link_each_bot_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """One an hour behind, one an hour ahead: leases and debts are told by the database's clock."""
    folder = tmp_path_factory.mktemp("r")
    # Few threads: one worker alone would link them all.
    with a_rig("sqlite", folder, SWEEP_SECONDS=1, WORKER_THREADS=2) as rig:
        for worker, shift in zip(rig.stack.workers, ("-3600", "3600"), strict=True):
            environ = rig.environ | {"CLOCK_SHIFT": shift}
            doom(worker, "workers", environ)
            worker.stop()
        rig.recall.latency_ms = 300
        wave = rig.send(20)
        wave.finish()
        wave.check(is_one_clock=False)
        started = [row.finished_at for row in rows(rig.engine, LinkAttempt)]
        assert max(started) - min(started) > timedelta(hours=1.5)
        for bot in wave.bots:
            # At its first informative event and at its last: a lease taken too soon costs calls.
            assert len(rig.recall.calls.all("bot/{id}", about=bot.id)) <= 2


def test_a_web_dyno_with_a_wrong_clock_refuses_and_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Ten minutes off, it believes no signature; the sender keeps all until the clock is right."""
    folder = tmp_path_factory.mktemp("r")
    with a_rig("sqlite", folder, workers=1, SWEEP_SECONDS=1) as rig:
        right = rig.stack.web
        doom(right, "webhook", rig.environ | {"CLOCK_SHIFT": "600"})
        right.stop()
        until(rig.is_ready, "the web with a wrong clock")
        (webhook, *_) = webhooks_of(rig.recall.build.populate(1), rig.rng)
        reply = Sender(f"{rig.stack.url}{PATH}", [SECRET]).send(webhook).reply
        assert (reply.status, b"stale_timestamp" in reply.body) == (401, True)
        wave = rig.send(3)
        doom(right, "webhook", rig.environ)
        right.stop()
        wave.finish()
        wave.check(also={401})
