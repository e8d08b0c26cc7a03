"""Real processes for tests: the Procfile's lines against a fake Recall, and waiting for an end."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from models.tables.bot import Bot
from tests.conftest import SECRET
from tests.lab.recall import FakeRecall
from tests.lab.stack.servers import free_port
from tests.lab.stack.stack import Process, Stack, environment, procfile

WAIT_SECONDS = 60.0


def environ_for(database_url: str, recall: FakeRecall, **settings: object) -> dict[str, str]:
    """The environment of a dyno of this test."""
    given: dict[str, object] = {
        "DATABASE_URL": database_url,
        "HOST": "127.0.0.1",
        "PORT": free_port(),
        "RECALL_API_KEY": recall.api_key,
        "RECALL_API_BASE_URL": recall.url,
        "RECALL_WEBHOOK_SECRETS": SECRET,
        "LOG_FORMAT": "json",
    }
    return environment(**given | settings)


@contextmanager
def running(
    database_url: str, recall: FakeRecall, folder: Path, *, workers: int = 1, **settings: Any
) -> Iterator[Stack]:
    """Run the Procfile's lines; the test fails when one of them ends by itself."""
    environ = environ_for(database_url, recall, **settings)
    with Stack(environ, folder, workers=workers) as stack:
        yield stack
        assert [process.code for process in stack.processes] == [None] * (workers + 1)


@contextmanager
def web_alone(environ: dict[str, str], folder: Path) -> Iterator[tuple[Process, str]]:
    """Run the web line by itself: the process, and its address; it must end when it is told."""
    process = Process("web", procfile()["web"], environ, folder / "web.log")
    process.start()
    port = int(environ["PORT"])
    try:
        until(lambda: can_connect(port), "the web process's start")
        yield process, f"http://127.0.0.1:{port}"
    finally:
        code = process.stop()
    assert code == 0, process.last_words()


def can_connect(port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def until(true: Callable[[], bool], what: str = "it", seconds: float = WAIT_SECONDS) -> None:
    """Wait until something is true; AssertionError after so many seconds."""
    give_up_at = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up_at, f"{what} did not happen in {seconds} s"
        time.sleep(0.05)


def settled(engine: Engine) -> int:
    """How many bots have nothing owed."""
    done = select(func.count()).select_from(Bot).where(Bot.due_at.is_(None), Bot.settled_at != None)  # noqa: E711
    with engine.connect() as connection:
        return connection.scalar(done) or 0
