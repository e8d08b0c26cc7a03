"""The worker contenders: how each is started, handed work, and seen to have done it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg
import redis

from models.settings.environment import Settings
from tests.bench.checks import check_links, link_count
from tests.bench.environment import PEERS, BenchError, Fake, Ground, connected, until
from tests.bench.metrics import Peak, cpu_seconds, machine_seconds, tree
from tests.bench.world import World, bot_id, occurred_at, webhook_body
from tests.lab.stack.stack import ROOT, Process, environment
from workers.queue.jobs import queue_name
from workers.queue.redis_clients import quick_redis
from workers.queue.wakeup import WakeUp

THREADS = 32
SLICE_LIMIT_SECONDS = 120.0
TERMINAL = "done"
OURS, TWO = "recall-links", "recall-links, 2 processes"
RQ, DRAMATIQ, CELERY, ARQ = "stock RQ", "Dramatiq", "Celery", "arq"
_PEER = "tests.bench.peers"
COMMANDS = {
    OURS: "python -m workers",
    TWO: "python -m workers",
    RQ: f"{PEERS}/rq worker --quiet --url $REDIS_URL",
    DRAMATIQ: f"{PEERS}/dramatiq {_PEER}.dramatiq_links --processes 1 --threads {THREADS}",
    CELERY: f"{PEERS}/celery -A {_PEER}.celery_links worker -P threads -c {THREADS} -l ERROR",
    ARQ: f"{PEERS}/arq {_PEER}.arq_links.WorkerSettings",
}
ENQUEUE = {
    RQ: "naive_app",
    DRAMATIQ: "dramatiq_links",
    CELERY: "celery_links",
    ARQ: "arq_links",
}
DELIVERIES = """COPY deliveries (id, event, outcome, bot_id, code, occurred_at, body, received_at,
    last_received_at, scheme, secret_fingerprint) FROM STDIN"""


@dataclass(frozen=True, slots=True)
class Slice:
    """What one piece of work took."""

    per_second: float
    cpu_ms: float
    megabytes: float
    # The share of all cores' time in which nobody had work, fake Recall and PostgreSQL included.
    idle: float


@dataclass(slots=True)
class Contender:
    """One kind of worker, running."""

    name: str
    environ: dict[str, object]
    processes: list[Process]
    linked: int = 0
    slices: dict[int, list[Slice]] = field(default_factory=dict)

    @property
    def database(self) -> str:
        """Its database's URL."""
        return str(self.environ["DATABASE_URL"])

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return [process.pid for process in self.processes]


def start(ground: Ground, fake: Fake, name: str, **settings: object) -> Contender:
    """Start a worker on a database and a Redis of its own, and have it link one bot."""
    environ = ground.service(ground.database(), ground.redis())
    environ |= {
        "RECALL_API_BASE_URL": fake.url,
        "SSL_CERT_FILE": fake.roots,
        "WORKER_THREADS": THREADS,
        "RECALL_RATE_SHARE": 100_000,
        **settings,
    }
    count = 2 if name == TWO else 1
    processes = [ground.run("worker", COMMANDS[name], environ) for _ in range(count)]
    contender = Contender(name, environ, processes)
    if name in (OURS, TWO):
        client = redis.Redis.from_url(str(environ["REDIS_URL"]))
        until(lambda: client.scard("rq:workers") == count, f"the start of {name}", processes[0])
    measure(contender, World(), 1)
    return contender


def measure(contender: Contender, world: World, count: int) -> Slice:
    """Hand over so many bots at once, wait until all are linked, check each link."""
    first = contender.linked
    contender.linked += count
    with connected(contender.database) as connection, _held_back(contender):
        _hand_over(contender, connection, first, count)
        before, (idle, total) = cpu_seconds(contender.pids), machine_seconds()
        started = datetime.now(UTC)
    with connected(contender.database) as connection, Peak(contender.pids).watching() as peak:
        if contender.name in (OURS, TWO):
            started = _ring(contender, connection, first, count)
        _wait(contender, connection, first, len(world.links(range(first, first + count))))
        check_links(connection, world, range(first, first + count), contender.name)
        spent = cpu_seconds(contender.pids) - before
        idle_now, total_now = machine_seconds()
        seconds = (_last_link(connection) - started).total_seconds()
    share = (idle_now - idle) / (total_now - total)
    return Slice(count / seconds, spent / count * 1000, peak.megabytes, share)


@contextlib.contextmanager
def _held_back(contender: Contender) -> Iterator[None]:
    """Stop a peer while its jobs are queued, so that enqueuing is in nobody's time."""
    if contender.name in (OURS, TWO):
        yield
        return
    held = tree(contender.pids)
    for process in held:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in held:
            os.kill(process.pid, signal.SIGCONT)


def _hand_over(
    contender: Contender,
    connection: "psycopg.Connection[tuple[object, ...]]",
    first: int,
    count: int,
) -> None:
    if contender.name not in ENQUEUE:
        return
    command = [
        str(PEERS / "python"),
        "-m",
        f"{_PEER}.{ENQUEUE[contender.name]}",
        str(first),
        str(count),
    ]
    environ = environment(**{"PYTHONPATH": ROOT, **contender.environ})
    subprocess.run(command, cwd=ROOT, env=environ, check=True)


def _ring(
    contender: Contender,
    connection: "psycopg.Connection[tuple[object, ...]]",
    first: int,
    count: int,
) -> datetime:
    """Commit what the receiver would have stored, and ring as it would; returns when."""
    rows = [_delivery(number) for number in range(first, first + count)]
    started = datetime.now(UTC)
    with connection.cursor().copy(DELIVERIES) as copy:
        for row in rows:
            copy.write_row(row)
    settings = Settings.read({name: str(value) for name, value in contender.environ.items()})
    WakeUp(quick_redis(settings), queue_name(settings)).send()
    return started


def _delivery(number: int) -> tuple[object, ...]:
    now, body = datetime.now(UTC), webhook_body(number, TERMINAL)
    told = ("bot.done", "accepted", bot_id(number), TERMINAL, occurred_at(number, TERMINAL), body)
    return (f"bench_{number}", *told, now, now, "svix", "bench")


def _wait(
    contender: Contender,
    connection: "psycopg.Connection[tuple[object, ...]]",
    first: int,
    links: int,
) -> None:
    give_up_at = time.monotonic() + SLICE_LIMIT_SECONDS
    while (found := link_count(connection, "links", first)) < links:
        if time.monotonic() > give_up_at or contender.processes[0].code is not None:
            said = contender.processes[0].last_words()
            raise BenchError(f"{contender.name}: {found} of {links} links in time\n{said}")
        time.sleep(0.1)


def _last_link(connection: "psycopg.Connection[tuple[object, ...]]") -> datetime:
    row = connection.execute("SELECT max(linked_at) FROM links").fetchone()
    assert row is not None
    assert isinstance(row[0], datetime)
    return row[0]
