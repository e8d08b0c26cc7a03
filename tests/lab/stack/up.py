"""The local stack against the real Recall, by the settings of .env."""

import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv import dotenv_values
from rich.console import Console

from tests.lab.stack.servers import start_redis
from tests.lab.stack.stack import (
    ROOT,
    Process,
    Stack,
    StackError,
    environment,
    kept_alive,
    refuse_a_taken_port,
)

NEEDED = ("RECALL_API_KEY", "RECALL_WEBHOOK_SECRETS")
EXAMPLE = ROOT / ".env.example"
FOLLOW_SECONDS = 0.2


def run_up(env_file: Path, console: Console) -> int:
    """Run until Ctrl-C; 2 when .env is not filled in, 1 when a line of the Procfile fails."""
    settings = read_settings(env_file, os.environ)
    missing = [name for name in NEEDED if name not in settings]
    if missing:
        console.print(f"Set {' and '.join(missing)} in {env_file.name} (see .env.example).")
        return 2
    given = {"PORT": "8000", "HOST": "127.0.0.1"} | settings
    folder = ROOT / ".lab" / "up"
    try:
        # Before anything is touched: the logs may be those of the one that has the port.
        refuse_a_taken_port(given)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with _redis_for(settings) as redis_url:
            environ = environment(**given | {"REDIS_URL": redis_url})
            with kept_alive(Stack(environ, folder)) as stack:
                _serve(stack, console)
    except StackError as error:
        console.print(str(error), markup=False)
        return 1
    return 0


def read_settings(env_file: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what .env says, and over it what the environment says, as the command line reads it.

    Of the environment only what .env.example names: it is full of other programs' words.
    """
    names = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", EXAMPLE.read_text(), re.MULTILINE)
    written = {name: value for name, value in dotenv_values(env_file).items() if value}
    return written | {name: environ[name] for name in names if environ.get(name)}


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
    console.print(f"Recall's webhooks go to {stack.url}/webhooks/recall; press Ctrl-C to stop.")
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
