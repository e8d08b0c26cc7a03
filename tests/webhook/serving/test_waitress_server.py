"""The web process as it runs: slow senders, idle connections, and a stop that loses nothing."""

import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.settings.environment import Settings
from tests.conftest import SECRET
from tests.lab.faults.hostile import half_sent
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery, Receipt
from tests.lab.sender.events import lifecycle
from tests.lab.sender.sender import Sender
from tests.lab.stack.stack import Process, procfile
from tests.support.processes import environ_for, until
from webhook.app import create_app, resources_of
from webhook.serving.waitress_server import WebServer

PATH = "/webhooks/recall"


@pytest.fixture
def database(tmp_path: Path, sqlite_template: Path) -> Path:
    """A migrated SQLite file."""
    path = tmp_path / "web.db"
    path.write_bytes(sqlite_template.read_bytes())
    return path


@pytest.fixture
def web(database: Path, tmp_path: Path) -> Iterator[tuple[Process, str]]:
    """The web line of the Procfile, and its address."""
    with FakeRecall() as recall:
        environ = environ_for(f"sqlite:///{database}", recall)
    process = Process("web", procfile()["web"], environ, tmp_path / "web.log")
    process.start()
    port = int(environ["PORT"])
    until(lambda: can_connect(port), "the web process's start")
    yield process, f"http://127.0.0.1:{port}"
    process.stop()


def can_connect(port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def a_delivery() -> Delivery:
    """A webhook."""
    return Delivery.of(lifecycle("6a3f5d1c-9a52-4c7e-8a4a-1f2e3d4c5b6a")[-1])


def test_300_half_sent_bodies_delay_no_good_post(web: tuple[Process, str]) -> None:
    """A request is read whole before a thread sees it."""
    _, url = web
    sender = Sender(f"{url}{PATH}", [SECRET])
    with contextlib.ExitStack() as held:
        for _ in range(300):
            delivery = a_delivery()
            held.enter_context(half_sent(f"{url}{PATH}", delivery, sender.headers(delivery)))
        started = time.monotonic()
        assert sender.send(a_delivery()).status == 202
        assert time.monotonic() - started < 5


def test_a_stop_finishes_what_is_in_flight(web: tuple[Process, str], database: Path) -> None:
    """The request that waits for the database is answered; readyz says no; it ends with 0."""
    process, url = web
    sender = Sender(f"{url}{PATH}", [SECRET])
    assert sender.send(a_delivery()).status == 202
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    receipts: list[Receipt] = []
    waiting = threading.Thread(target=lambda: receipts.append(sender.send(a_delivery())))
    waiting.start()
    until(lambda: is_waiting(url), "a request in flight")
    started = time.monotonic()
    process.signal(signal.SIGTERM)
    until(lambda: "503" in ask(url, "/readyz")[:20], "readyz saying no", 5)
    writer.execute("ROLLBACK")
    writer.close()
    waiting.join()
    assert receipts[0].status == 202
    assert process.wait(10) == 0
    assert time.monotonic() - started < 10


def is_waiting(url: str) -> bool:
    """Whether a request could be under way by now: the process answers others meanwhile."""
    time.sleep(0.3)
    return "200" in ask(url, "/healthz")[:20]


def ask(url: str, path: str) -> str:
    """A GET over a fresh connection, as text; empty when refused."""
    host, _, port = url.removeprefix("http://").partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 5) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return line.makefile().read()
    return ""


def test_an_idle_stop_is_quick(web: tuple[Process, str]) -> None:
    """Also with idle connections held open."""
    process, url = web
    host, _, port = url.removeprefix("http://").partition(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(5)]
    process.signal(signal.SIGTERM)
    assert process.wait(10) == 0
    for line in idle:
        line.close()


def test_while_it_stops_every_answer_ends_its_connection(web: tuple[Process, str]) -> None:
    """A router that keeps connections would post into one that is closed a moment later."""
    process, url = web
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 5) as line:
        process.signal(signal.SIGTERM)
        answer = b"200"
        while b"200" in answer[:20]:
            assert b"connection: close" not in answer.lower()
            line.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = line.recv(65536)
        assert b"503" in answer[:20]
        assert b"connection: close" in answer.lower()
    assert process.wait(10) == 0


def test_an_idle_connection_outlasts_herokus_router(tmp_path: Path) -> None:
    """It keeps its side for 90 s: closing sooner races a POST."""
    settings = Settings.read({"DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}", "PORT": "0"})
    app = create_app(settings)
    server = WebServer(app, settings)
    adjustments = server._server.adj
    assert adjustments.channel_timeout > 90
    assert adjustments.connection_limit == 1000
    assert adjustments.asyncore_use_poll
    assert adjustments.threads == 16
    server._server.close()
    resources_of(app).close()


@pytest.mark.faults
@pytest.mark.timeout(200)
def test_a_post_on_a_connection_idle_for_95_seconds_is_answered(web: tuple[Process, str]) -> None:
    """The same, waited out."""
    _, url = web
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as line:
        for idle_seconds in (95, 0):
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            # Head and body may come one after the other.
            while not answer.endswith(b"}"):
                answer += line.recv(4096)
            assert b"200 OK" in answer
            time.sleep(idle_seconds)


def test_a_malformed_setting_stops_the_boot_and_is_named(tmp_path: Path) -> None:
    """Without its value."""
    with FakeRecall() as recall:
        environ = environ_for("sqlite:///x.db", recall, RECALL_WEBHOOK_SECRETS="swordfish")
    for name in ("web", "worker"):
        process = Process(name, procfile()[name], environ, tmp_path / f"{name}.log")
        process.start()
        assert process.wait(30) == 2
        assert "RECALL_WEBHOOK_SECRETS" in process.last_words()
        assert "swordfish" not in process.last_words()


def test_readyz_names_what_is_missing(web: tuple[Process, str], database: Path) -> None:
    """And no more: it is open to strangers."""
    _, url = web
    answer = json.loads(ask(url, "/readyz").partition("\n\n")[2])
    checks = {"serving": "ok", "database": "ok", "redis": "not set"}
    assert answer == {"status": "ready", "checks": checks}
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        connection.commit()
    response = ask(url, "/readyz")
    assert "503" in response[:20]
    assert json.loads(response.partition("\n\n")[2])["checks"]["database"] == "not migrated"


def test_a_queue_of_requests_is_told_of_once_a_second(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waitress would for each of them, at the busiest time."""
    said: list[str] = []
    monkeypatch.setattr(
        "webhook.serving.waitress_server.logger.warning", lambda told, *_: said.append(told)
    )
    settings = Settings.read({"DATABASE_URL": f"sqlite:///{database}", "PORT": "0"})
    app = create_app(settings)
    server = WebServer(app, settings)
    for depth in range(100):
        server._dispatcher.queue_logger.warning("Task queue depth is %d", depth)
    server._dispatcher.shutdown(timeout=1)
    server._server.close()
    resources_of(app).close()
    assert said == ["Task queue depth is %d"]


@pytest.mark.parametrize("entrance", ["webhook.__main__", "workers.__main__"])
def test_no_process_loads_rich(entrance: str) -> None:
    """Six megabytes, and tracebacks that show the values of variables."""
    asked = f"import sys, {entrance}; print(sys.modules['rich'], 'rich.traceback' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["None", "False"]
