"""The demo: the whole stack on this machine, a scenario played to it, and what came of it."""

import contextlib
import fcntl
import os
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy import Engine, bindparam, create_engine, text

from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Receipt, last_receipts
from tests.lab.sender.sender import Sender
from tests.lab.sender.signing import new_secret
from tests.lab.stack.event_receiver import EventReceiver
from tests.lab.stack.report import Ending, endings, links_table
from tests.lab.stack.scenario import Story, all_deliveries, write_stories
from tests.lab.stack.servers import free_port, start_redis
from tests.lab.stack.stack import ROOT, Stack, environment, kept_alive

WEBHOOKS = "/webhooks/recall"
FOLDER = ROOT / ".lab" / "demo"
DATABASE = "recall-links.db"
LOCK = "demo.pid"
SETTLE_SECONDS = 90
TELL_SECONDS = 20
SEND_RATE = 40
SETTLED = text(
    "SELECT count(*) FROM bots WHERE id IN :bots AND due_at IS NULL AND status IN ('done', 'fatal')"
).bindparams(bindparam("bots", expanding=True))


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: the stack, its fake Recall, and where its database is."""

    stack: Stack
    recall: FakeRecall
    secret: str
    token: str
    database: Path
    engine: Engine
    receiver: EventReceiver


@contextlib.contextmanager
def running_demo(seed: int, folder: Path) -> Iterator[Demo]:
    """Start Redis, the fake Recall and the Procfile's lines; end them all."""
    _empty(folder)
    with _locked(folder):
        yield from _running(seed, folder)


def _running(seed: int, folder: Path) -> Iterator[Demo]:
    database, secret = (folder / DATABASE).resolve(), new_secret()
    token = secrets.token_urlsafe(18)
    # A unix socket's path has 108 characters at most, and a checkout may lie deep.
    sockets = Path(tempfile.mkdtemp(prefix="recall-links-"))
    redis = start_redis(sockets)
    try:
        signed = new_secret()
        with FakeRecall(seed=seed) as recall, EventReceiver(signed) as receiver:
            environ = environment(
                DATABASE_URL=f"sqlite:///{database}",
                REDIS_URL=redis.url,
                HOST="127.0.0.1",
                PORT=free_port(),
                RECALL_API_KEY=recall.api_key,
                RECALL_API_BASE_URL=recall.url,
                RECALL_WEBHOOK_SECRETS=secret,
                OPS_WRITE_TOKENS=token,
                EVENTS_URL=f"{receiver.url}/events",
                EVENTS_SECRET=signed,
            )
            engine = create_engine(f"sqlite:///{database}")
            with kept_alive(Stack(environ, folder)) as stack:
                yield Demo(stack, recall, secret, token, database, engine, receiver)
            engine.dispose()
    finally:
        redis.stop()
        shutil.rmtree(sockets)


def play(demo: Demo, stories: Sequence[Story], seed: int, console: Console) -> list[Receipt]:
    """Send every story's webhooks and wait until each bot is settled, or for 90 s."""
    deliveries = all_deliveries(stories, random.Random(seed))
    bar = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn())
    with Progress(*bar, console=console) as progress:
        sending = progress.add_task("webhooks answered", total=len(deliveries))
        settling = progress.add_task("bots processed", total=len(stories))
        sender = Sender(f"{demo.stack.url}{WEBHOOKS}", [demo.secret], rate=SEND_RATE)
        receipts: list[Receipt] = []
        for chunk in (deliveries[n : n + SEND_RATE] for n in range(0, len(deliveries), SEND_RATE)):
            receipts += sender.run(chunk)
            progress.update(sending, completed=len(receipts))
            progress.update(settling, completed=_settled(demo, stories))
        until = time.monotonic() + SETTLE_SECONDS
        while (settled := _settled(demo, stories)) < len(stories) and time.monotonic() < until:
            progress.update(settling, completed=settled)
            time.sleep(0.2)
        progress.update(settling, completed=settled)
    return receipts


def run_demo(*, once: bool, seed: int, folder: Path, console: Console) -> int:
    """Run the demo; 0 when everything that should be linked is, 1 when anything is not."""
    with console.status("Starting Redis and the Procfile's web and worker processes …"):
        context = running_demo(seed, folder)
        demo = context.__enter__()
    try:
        stories = write_stories(demo.recall)
        receipts = play(demo, stories, seed, console)
        found = endings(demo.engine, stories)
        _print_report(demo, found, receipts, console)
        if not once:
            _serve(demo, console)
    finally:
        context.__exit__(None, None, None)
    return 0 if all(ending.is_as_expected for ending in found) else 1


def _print_report(
    demo: Demo, found: Sequence[Ending], receipts: Sequence[Receipt], console: Console
) -> None:
    console.print(links_table(found))
    answers = last_receipts(receipts)
    calls = sum(ending.calls for ending in found)
    as_expected = sum(ending.is_as_expected for ending in found)
    console.print(
        f"{len(receipts)} webhooks sent, {len(answers)} different, "
        f"{sum(receipt.is_taken for receipt in answers.values())} accepted\n"
        f"{as_expected} of {len(found)} bots as expected, {calls} calls to Recall, "
        f"{calls / len(found):.2f} per bot (Recall counted {len(demo.recall.calls.all())})"
    )
    console.print(_events_line(demo))
    console.print("\nThe same in SQL: select * from bot_links, in", demo.database, soft_wrap=True)
    asking = f"DATABASE_URL=sqlite:///{demo.database} bin/recall-links links"
    console.print(f"From the command line: {asking}", soft_wrap=True)


def _events_line(demo: Demo) -> str:
    until = time.monotonic() + TELL_SECONDS
    while (written := _written(demo)) > len(demo.receiver.verified) and time.monotonic() < until:
        time.sleep(0.2)
    took = f"{len(demo.receiver.verified)} of {written} events received and verified"
    return f"{took}, {demo.receiver.refused} refused (a small receiver at {demo.receiver.url})"


def _written(demo: Demo) -> int:
    with demo.engine.connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM events")) or 0


def _serve(demo: Demo, console: Console) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        # Recall refuses nothing from here on, so retrying that bot links it.
        demo.recall.faults.clear()
        console.print(f"\nThe console: {demo.stack.url}/console/, with the token {demo.token}")
        console.print(f"Serving on {demo.stack.url} until Ctrl-C (logs in {demo.database.parent})")
        while True:
            time.sleep(3600)
    console.print("\nStopping …")


def _settled(demo: Demo, stories: Sequence[Story]) -> int:
    with demo.engine.connect() as connection:
        bots = [story.bot.id for story in stories]
        return connection.scalar(SETTLED, {"bots": bots}) or 0


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The lock ends with its process, however that ends.
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _refuse_a_running_demo(folder: Path) -> None:
    if not (folder / LOCK).exists():
        return
    with (folder / LOCK).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = f"a demo runs in {folder} (pid {lock.read()}): name another folder"
            raise FileExistsError(words) from None


def _empty(folder: Path) -> None:
    _refuse_a_running_demo(folder)
    # Somebody's own folder, named by mistake, must not be emptied.
    is_demo = (folder / DATABASE).exists() or (folder / LOCK).exists()
    if folder.is_dir() and any(folder.iterdir()) and not is_demo:
        raise FileExistsError(f"{folder} holds something else than a demo")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
