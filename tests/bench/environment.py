"""What every contender stands on: a PostgreSQL, a Redis each, a fake Recall, processes."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import certifi
import httpx
import psycopg
from psycopg import sql

from tests.bench.load import Order
from tests.lab.sender.signing import new_secret
from tests.lab.stack.postgres import start_postgres, stop_postgres
from tests.lab.stack.servers import Server, start_redis, tied
from tests.lab.stack.stack import ROOT, Process, environment

PEERS = ROOT / ".venv-bench" / "bin"
API_KEY = "bench-key-0123456789"
READ_TOKEN = secrets.token_hex(16)
# A 2xx must have survived a power cut, for everybody: no shortcut of the tests' cluster is kept.
DURABLE = (
    "fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=256MB",
    "max_wal_size=4GB",
)  # fmt: skip
READY_SECONDS = 60.0
# The web process has one core, all else the other: the same for every contender.
WEB_CORE, OTHER_CORE = 0, 1


class BenchError(Exception):
    """A contender or a server did not do what it should; the measurement is worth nothing."""


class Fake:
    """The lean fake Recall, running."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir()
        authority = folder / "authority.pem"
        command = [sys.executable, "-m", "tests.bench.fake", str(authority), *options]
        self._process = subprocess.Popen(tied(command), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        port = json.loads(self._process.stdout.readline())["port"]
        self.url = f"https://127.0.0.1:{port}"
        # The public roots as well: loading them is part of what a client costs.
        self.roots = folder / "roots.pem"
        self.roots.write_text(Path(certifi.where()).read_text() + authority.read_text())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        # Waits for the end, and closes the pipe.
        self._process.communicate()

    def control(self, path: str) -> Any:
        """Ask `/_stats`, `/_reset` or `/_delay/MS`."""
        answer = httpx.get(f"{self.url}{path}", verify=False)  # noqa: S501 - our own loopback
        return answer.json()


class Ground:
    """Servers and databases of one run; everything that it started ends with it."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="recall-bench-"))
        self.folder.chmod(0o711)
        self.secret = new_secret()
        self._postgres: Server | None = None

    def __enter__(self) -> Self:
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def server_url(self) -> str:
        """The PostgreSQL server, started at the first asking, its template migrated."""
        if self._postgres is None:
            self._postgres = start_postgres(self.sub("postgres"), *DURABLE)
            self._stack.callback(stop_postgres, self._postgres)
            pin(self._postgres.process.pid, OTHER_CORE)
            self._admin("CREATE DATABASE {}", "template_bench")
            self._migrate(self._url("template_bench"))
        return self._postgres.url

    def database(self) -> str:
        """Make a fresh migrated database; returns its URL."""
        _ = self.server_url
        name = f"bench_{uuid.uuid4().hex[:10]}"
        self._admin("CREATE DATABASE {} TEMPLATE template_bench", name)
        return self._url(name)

    def redis(self) -> str:
        """Start a Redis of one contender's own; returns its URL."""
        # A socket's path has 108 characters at most.
        server = start_redis(self.sub("redis"))
        self._stack.callback(server.stop)
        return server.url

    def fake(self, *options: str) -> Fake:
        """Start a fake Recall."""
        return self._stack.enter_context(Fake(self.sub("fake", make=False), *options))

    def run(
        self, name: str, command: str, environ: Mapping[str, object], core: int | None = None
    ) -> Process:
        """Run a command with these settings until the end of the run."""
        log = self.sub(name) / "log"
        given = {"PYTHONPATH": ROOT, "PYTHONUNBUFFERED": 1, "LOG_FORMAT": "json"} | dict(environ)
        process = Process(name, command, environment(**given), log)
        process.start()
        if core is not None:
            pin(process.pid, core)
        self._stack.callback(process.stop)
        return process

    def service(self, database: str, redis: str, **environ: object) -> dict[str, object]:
        """The settings of a dyno of ours."""
        return {
            "DATABASE_URL": database,
            "REDIS_URL": redis,
            "HOST": "127.0.0.1",
            "RECALL_API_KEY": API_KEY,
            "RECALL_WEBHOOK_SECRETS": self.secret,
            "OPS_READ_TOKENS": READ_TOKEN,
            **environ,
        }

    def sub(self, name: str, *, make: bool = True) -> Path:
        """A fresh folder."""
        folder = self.folder / f"{name}-{uuid.uuid4().hex[:6]}"
        if make:
            folder.mkdir()
        return folder

    def _admin(self, statement: str, name: str) -> None:
        assert self._postgres is not None
        with psycopg.connect(self._postgres.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))

    def _url(self, name: str) -> str:
        assert self._postgres is not None
        return f"{self._postgres.url.rpartition('/')[0]}/{name}"

    def _migrate(self, database: str) -> None:
        log = self.sub("release") / "log"
        release = Process(
            "release", "alembic upgrade head", environment(DATABASE_URL=database), log
        )
        release.start()
        if release.wait(READY_SECONDS):
            raise BenchError(f"the release line failed: {release.last_words()}")


def pin(pid: int, core: int) -> None:
    """Keep a process and what it starts on one core, where the system can and has two."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > core:
        os.sched_setaffinity(pid, {core})


def order(port: int, ground: Ground, **wanted: Any) -> dict[str, Any]:
    """Have the load generator do one order; returns its tally."""
    given = json.dumps(asdict(Order(port=port, secret=ground.secret, **wanted)))
    command = tied([sys.executable, "-m", "tests.bench.load"])
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        pin(process.pid, OTHER_CORE)
        said, _ = process.communicate(given)
    if process.returncode:
        raise BenchError("the load generator failed")
    tally: dict[str, Any] = json.loads(said)
    return tally


def until(true: Callable[[], bool], what: str, process: Process | None = None) -> None:
    """Wait until something is true, for a minute at most; BenchError says what was not."""
    give_up_at = time.monotonic() + READY_SECONDS
    while not true():
        if time.monotonic() > give_up_at or (process and process.code is not None):
            said = process.last_words() if process else ""
            raise BenchError(f"{what} did not happen\n{said}")
        time.sleep(0.02)


def is_listening(port: int) -> bool:
    """Whether somebody answers HTTP there."""
    with contextlib.suppress(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5)
        return True
    return False


@contextlib.contextmanager
def connected(database: str) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    """A connection of the bench's own, each statement committed."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection
