"""Each entrance sets up its log and Sentry once: twice would send each line and error twice."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.recall import FakeRecall
from tests.lab.stack.stack import ROOT
from tests.support.processes import environ_for, until
from webhook.cli.exit_codes import NOTHING_FOUND

# Counts in the process that was started and in those that it forks, then runs the entrance.
DRIVER = """
import json, logging.config, os, runpy, sys, sentry_sdk
record = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def counted(what, function):
    def call(*arguments, **options):
        function(*arguments, **options)
        os.write(record, (json.dumps([what, os.getpid()]) + "\\n").encode())
    return call
logging.config.dictConfig = counted("log", logging.config.dictConfig)
sentry_sdk.init = counted("Sentry", sentry_sdk.init)
entrance = sys.argv.pop(1)
runpy.run_module(entrance, run_name="__main__", alter_sys=True)
"""
Seen = Counter[tuple[str, int]]


@pytest.fixture
def environ(sqlite_template: Path, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """A dyno's environment, with a DSN that nobody answers at."""
    path = tmp_path / "links.db"
    path.write_bytes(sqlite_template.read_bytes())
    with FakeRecall() as recall:
        made = environ_for(f"sqlite:///{path}", recall, REDIS_URL=redis_url, PORT=0)
    return {**made, "SENTRY_DSN": "http://public@127.0.0.1:9/1"}


def run(
    folder: Path,
    environ: dict[str, str],
    *words: str,
    enough: Callable[[Seen], bool] | None = None,
    ends_with: int = 0,
) -> tuple[int, Seen]:
    """Run an entrance to its end, or until enough was set up: its process, and what was."""
    record = folder / "record"
    record.touch()

    def seen() -> Seen:
        lines = record.read_text().splitlines()
        return Counter((what, pid) for what, pid in map(json.loads, lines))

    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(record), *words],
            cwd=ROOT, env=environ, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            if enough is not None:
                until(lambda: enough(seen()), "the set-up")
                os.kill(process.pid, signal.SIGTERM)
            code = process.wait(timeout=60)
        finally:
            process.kill()
    assert code == ends_with, (folder / "log").read_text()
    return process.pid, seen()


def is_listening(folder: Path) -> Callable[[Seen], bool]:
    """Whether the web process has come to its end of setting up."""
    return lambda _: "listening" in (folder / "log").read_text()


def test_the_web_process_sets_up_both_once(environ: dict[str, str], tmp_path: Path) -> None:
    """It forks nobody."""
    pid, seen = run(tmp_path, environ, "webhook", enough=is_listening(tmp_path))
    assert seen == {("log", pid): 1, ("Sentry", pid): 1}


def test_a_worker_sets_up_its_log_once_and_sentry_once_a_child(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Not before the fork: its threads would not come along."""
    pid, seen = run(tmp_path, environ, "workers", enough=lambda seen: len(seen) >= 3)
    assert seen.pop(("log", pid)) == 1
    assert {what for what, _ in seen} == {"Sentry"}
    assert (pid in {child for _, child in seen}, list(seen.values())) == (False, [1, 1])


def test_a_command_sets_up_its_log_once_and_no_sentry(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Whoever types it sees what failed; what only reads has no log of ours to set up."""
    for command, count in (("status", 1), ("links", 0)):
        folder = tmp_path / command
        folder.mkdir()
        pid, seen = run(folder, environ, "webhook.cli.main", command, ends_with=NOTHING_FOUND)
        assert seen == Counter({("log", pid): count} if count else {})
