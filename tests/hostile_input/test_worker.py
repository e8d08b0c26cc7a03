"""A real worker process under the costliest answers: it stays up, and as large as it was."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine

from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.support.processes import running, until
from tests.support.rows import add_delivery

MIB = 1024 * 1024
BOT_PATH = "bot/{id}"
# As many values as two mebibytes of JSON can hold: each costs a reader tens of bytes.
WIDE = '{"id": "x", "metadata": {"a": [' + "[]," * 690_000 + "0]}}"
COSTLY: tuple[dict[str, Any], ...] = (
    {"act": "endless"},
    {"act": "gzip_bomb"},
    {"act": "garbage", "variant": "deep"},
    {"status": 200, "body": WIDE},
)


class Watch:
    """The most memory that a process and its children had for themselves, in bytes."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._is_over = threading.Event()
        self.most = 0

    def run(self) -> None:
        """Look twenty times a second."""
        while not self._is_over.wait(0.05):
            with contextlib.suppress(psutil.Error):
                self.most = max(self.most, self._now())

    def _now(self) -> int:
        family = [self._process, *self._process.children(recursive=True)]
        total = 0
        for one in family:
            with contextlib.suppress(psutil.Error):
                total += one.memory_full_info().uss
        return int(total)

    def end(self) -> None:
        """Look no more."""
        self._is_over.set()


@contextmanager
def watching(pid: int) -> Iterator[Watch]:
    """Watch a process and its children for the length of a with block."""
    watch = Watch(pid)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    yield watch
    watch.end()
    thread.join()


def play(engine: Engine, recall: FakeRecall, times: int) -> None:
    """Let so many bots of each costly kind come, and wait until each was looked at."""
    bots = []
    for fault in COSTLY * times:
        bot = recall.build.bot([])
        recall.faults.add(Fault(path=BOT_PATH, match=bot.id, **fault))
        bots.append(bot.id)
    for bot_id in bots:
        add_delivery(engine, bot_id, "joining_call")
    until(lambda: set(bots) <= looked_at(engine), "every bot's first look")


def looked_at(engine: Engine) -> set[str]:
    """The bots that were settled at least once."""
    # Past the engine, whose BEGIN would wait for a writer that waits for a parser.
    with contextlib.closing(sqlite3.connect(engine.url.database or "")) as connection:
        settled = connection.execute("SELECT id FROM bots WHERE settled_at IS NOT NULL")
        return {bot_id for (bot_id,) in settled}


# What a worker holds in memory is the same over either database.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_stays_as_large_as_it_was(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """Endless, packed, deep and wide answers: no more in the third round than in the first."""
    settings: dict[str, Any] = {
        "SWEEP_SECONDS": 0.2,
        "WORKER_THREADS": 4,
        "RECALL_RATE_SHARE": 100_000,
    }
    peaks = []
    with (
        FakeRecall(limits=False) as recall,
        running(database_url, recall, tmp_path, **settings) as stack,
    ):
        for _ in range(3):
            with watching(stack.workers[0].pid) as watch:
                play(engine, recall, times=3)
            peaks.append(watch.most)
        good = recall.build.bot([recall.build.meeting(recall.build.user())])
        add_delivery(engine, good.id, "joining_call")
        until(lambda: good.id in looked_at(engine), "a good bot's link")
    assert peaks[2] < peaks[0] + 100 * MIB
    # Four threads' two mebibytes, read and parsed, and nothing near the 64 MiB that were packed.
    assert max(peaks) < 400 * MIB
    assert "Traceback" not in stack.workers[0].log.read_text()
