"""The local stack against the real Recall, by the settings of .env."""

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv import dotenv_values
from rich.console import Console

from tests.lab.servers import start_redis
from tests.lab.stack import ROOT, Process, Stack, StackError, environment, kept_alive

NEEDED = ("RECALL_API_KEY", "RECALL_WEBHOOK_SECRETS")
FOLLOW_SECONDS = 0.2


def run_up(env_file: Path, console: Console) -> int:
    """Run until Ctrl-C; 2 when .env is not filled in, 1 when a line of the Procfile fails."""
    settings = {name: value for name, value in dotenv_values(env_file).items() if value}
    missing = [name for name in NEEDED if name not in settings]
    if missing:
        console.print(f"Set {' and '.join(missing)} in {env_file.name} (see .env.example).")
        return 2
    folder = ROOT / ".lab" / "up"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with _redis_for(settings) as redis_url:
            given = {"PORT": "8000", "HOST": "127.0.0.1", "REDIS_URL": redis_url} | settings
            with kept_alive(Stack(environment(**given), folder)) as stack:
                _serve(stack, console)
    except StackError as error:
        console.print(str(error), markup=False)
        return 1
    return 0


@contextlib.contextmanager
def _redis_for(settings: Mapping[str, str]) -> Iterator[str]:
    if url := settings.get("REDIS_URL"):
        yield url
        return
    folder = Path(tempfile.mkdtemp(prefix="recall-links-"))
    redis = start_redis(folder)
    try:
        yield redis.url
    finally:
        redis.stop()
        shutil.rmtree(folder)


def _serve(stack: Stack, console: Console) -> None:
    console.print(f"Recall's webhooks go to {stack.url}/webhooks/recall; Ctrl-C ends it.")
    console.print(f"The console is {stack.url}/console/, with a token of OPS_WRITE_TOKENS in .env.")
    for process in stack.processes:
        follower = threading.Thread(target=_follow, args=(process, console), daemon=True)
        follower.start()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
    console.print("\nStopping …")


def _follow(process: Process, console: Console) -> None:
    with process.log.open(errors="replace") as log:
        while True:
            if line := log.readline():
                console.print(f"{process.name:<9}│ {line.rstrip(os.linesep)}", markup=False)
            else:
                time.sleep(FOLLOW_SECONDS)
