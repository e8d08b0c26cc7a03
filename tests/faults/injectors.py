"""The faults, each as a with block: entering breaks something, leaving it mends what was broken.

A kill needs no mending: the rig starts its dead again, as a dyno manager does.
"""

import contextlib
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psutil
import psycopg
import redis

from tests.faults.stack import ROLE, Rig, busy, family, named, rq_workers
from tests.lab.faults.faults import Fault
from tests.lab.stack.postgres import stop_postgres
from tests.lab.stack.servers import Server

Break = Callable[[Rig], AbstractContextManager[None]]
BOTH = ("postgresql", "sqlite")


@dataclass(frozen=True)
class Breakage:
    """One way to break a rig, for how long, and on which databases it can be done."""

    name: str
    inject: Break
    seconds: float
    kinds: tuple[str, ...]


BREAKAGES: dict[str, Breakage] = {}


def breakage(
    seconds: float = 0.3, kinds: tuple[str, ...] = BOTH
) -> Callable[[Callable[[Rig], Iterator[None]]], Break]:
    """Register a fault under its function's name."""

    def register(function: Callable[[Rig], Iterator[None]]) -> Break:
        name = function.__name__.replace("_", " ")
        inject: Break = contextmanager(function)
        BREAKAGES[name] = Breakage(name, inject, seconds, kinds)
        return inject

    return register


def kill(*processes: psutil.Process, sig: signal.Signals = signal.SIGKILL) -> None:
    """Send each a signal; those that have gone are fine."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(sig)


@breakage()
def web_killed(rig: Rig) -> Iterator[None]:
    """By kill -9, under load."""
    kill(*family(rig.stack.web))
    yield


@breakage()
def web_told_to_stop(rig: Rig) -> Iterator[None]:
    """As every day and with every release."""
    rig.stack.web.signal(signal.SIGTERM)
    yield


@breakage(seconds=3)
def web_frozen(rig: Rig) -> Iterator[None]:
    """It answers nobody for a while."""
    with frozen(family(rig.stack.web)):
        yield


@breakage()
def rq_worker_killed(rig: Rig) -> Iterator[None]:
    """In mid-drain: the supervisor starts another, the lease gives its bots back."""
    kill(*rq_workers(busy(rig)))
    yield


@breakage()
def every_rq_worker_killed(rig: Rig) -> Iterator[None]:
    """Of all dynos at once: nobody takes the wake-ups."""
    busy(rig)
    kill(*[one for worker in rig.stack.workers for one in rq_workers(worker)])
    yield


@breakage()
def poller_killed(rig: Rig) -> Iterator[None]:
    """The one that finds work without a wake-up."""
    kill(*[one for worker in rig.stack.workers for one in named(worker, "poller")])
    yield


@breakage()
def dyno_killed(rig: Rig) -> Iterator[None]:
    """A worker's every process at once, as when a host goes."""
    kill(*family(busy(rig)))
    yield


@breakage()
def everything_killed(rig: Rig) -> Iterator[None]:
    """Web and workers, all of them."""
    kill(*[one for process in rig.stack.processes for one in family(process)])
    yield


@breakage()
def dyno_told_to_stop(rig: Rig) -> Iterator[None]:
    """SIGTERM to every process of it, as Heroku does."""
    kill(*family(busy(rig)), sig=signal.SIGTERM)
    yield


@breakage()
def dyno_frozen_past_its_leases(rig: Rig) -> Iterator[None]:
    """A host that pauses, and then goes on as if nothing had been."""
    with frozen(family(busy(rig))):
        time.sleep(rig.settings.lease_seconds + 1)
        yield


@breakage()
def redis_killed(rig: Rig) -> Iterator[None]:
    """And back, empty."""
    rig.redis.stop(signal.SIGKILL)
    rig.redis.start_again()
    yield


@breakage(seconds=4)
def redis_away(rig: Rig) -> Iterator[None]:
    """For longer than anybody waits for it."""
    rig.redis.stop(signal.SIGKILL)
    try:
        yield
    finally:
        rig.redis.start_again()


@breakage()
def redis_flushed(rig: Rig) -> Iterator[None]:
    """Every few milliseconds for a moment."""
    with client(rig.redis) as redis_client:
        for _ in range(20):
            redis_client.flushall()
            time.sleep(0.02)
    yield


@breakage(seconds=4)
def redis_frozen(rig: Rig) -> Iterator[None]:
    """It takes connections and answers none."""
    with frozen([psutil.Process(rig.redis.process.pid)]):
        yield


@breakage(seconds=4)
def redis_slow(rig: Rig) -> Iterator[None]:
    """Hardly inside of a second."""
    over = threading.Event()
    thread = threading.Thread(target=stutter, args=(rig.redis, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@breakage(seconds=4)
def redis_full(rig: Rig) -> Iterator[None]:
    """It refuses to write (noeviction)."""
    with memory_of_redis(rig, "noeviction"):
        yield


@breakage(seconds=4)
def redis_evicting(rig: Rig) -> Iterator[None]:
    """It throws away what it was given (allkeys-lru)."""
    with memory_of_redis(rig, "allkeys-lru"):
        yield


@breakage(kinds=("postgresql",))
def postgres_restarted(rig: Rig) -> Iterator[None]:
    """In an orderly way."""
    stop_postgres(of(rig))
    of(rig).start_again()
    yield


@breakage(kinds=("postgresql",))
def postgres_crashed(rig: Rig) -> Iterator[None]:
    """It stops at once and recovers from its log."""
    of(rig).stop(signal.SIGQUIT)
    of(rig).start_again()
    yield


@breakage(seconds=4, kinds=("postgresql",))
def postgres_away(rig: Rig) -> Iterator[None]:
    """For a while."""
    stop_postgres(of(rig))
    try:
        yield
    finally:
        of(rig).start_again()


@breakage(seconds=7, kinds=("postgresql",))
def postgres_frozen(rig: Rig) -> Iterator[None]:
    """The server and all that serve its clients."""
    server = psutil.Process(of(rig).process.pid)
    with frozen([server, *server.children(recursive=True)]):
        yield


@breakage(kinds=("postgresql",))
def postgres_connections_cut(rig: Rig) -> Iterator[None]:
    """Every few milliseconds for a moment."""
    with rig.admin() as admin:
        for _ in range(10):
            cut(admin)
            time.sleep(0.05)
    yield


@breakage(seconds=3, kinds=("postgresql",))
def postgres_read_only(rig: Rig) -> Iterator[None]:
    """As a fail-over leaves it for a while."""
    with rig.admin() as admin:
        admin.execute("ALTER DATABASE rig SET default_transaction_read_only = on")
        cut(admin)
        try:
            yield
        finally:
            admin.execute("SET default_transaction_read_only = off")
            admin.execute("ALTER DATABASE rig RESET default_transaction_read_only")
            cut(admin)


@breakage(seconds=3, kinds=("postgresql",))
def postgres_out_of_connections(rig: Rig) -> Iterator[None]:
    """Somebody else has taken the plan's last one."""
    with rig.admin() as admin:
        admin.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
        cut(admin)
        try:
            yield
        finally:
            admin.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")


@breakage(seconds=4, kinds=("postgresql",))
def postgres_deliveries_locked(rig: Rig) -> Iterator[None]:
    """By a migration, say."""
    with rig.admin() as admin, admin.transaction():
        admin.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
        yield


@breakage(seconds=4, kinds=("postgresql",))
def postgres_bots_locked(rig: Rig) -> Iterator[None]:
    """The table that workers settle in."""
    with rig.admin() as admin, admin.transaction():
        admin.execute("LOCK TABLE bots IN ACCESS EXCLUSIVE MODE")
        yield


@breakage(seconds=6, kinds=("sqlite",))
def sqlite_locked(rig: Rig) -> Iterator[None]:
    """By a writer that takes its time."""
    with contextlib.closing(sqlite3.connect(rig.database, 30, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        yield
        writer.execute("ROLLBACK")


def of_recall(name: str, *faults: Fault, seconds: float = 2.0) -> None:
    """Register a way in which Recall goes wrong for a moment."""

    @contextmanager
    def inject(rig: Rig) -> Iterator[None]:
        names = [rig.recall.faults.add(fault) for fault in faults]
        try:
            yield
        finally:
            for one in names:
                rig.recall.faults.remove(one)

    BREAKAGES[name] = Breakage(name, inject, seconds, BOTH)


of_recall("recall resets", Fault(act="reset"))
of_recall("recall hangs", Fault(act="hang", times=3))
of_recall("recall drips headers", Fault(act="drip_headers", times=3))
of_recall("recall drips bodies", Fault(act="drip_body", times=3))
of_recall("recall says 429", Fault(status=429, headers={"Retry-After": "2"}, times=2))
of_recall("recall says 500", Fault(status=500, path="bot/{id}"))
of_recall("recall says 503", Fault(status=503, probability=0.5))
of_recall("recall says HTML", Fault(act="html", probability=0.5))
of_recall("recall says half of it", Fault(act="partial", probability=0.5))
of_recall("recall says nonsense", Fault(act="garbage", variant="deep", path="bot/{id}", times=3))
of_recall(
    "recall refuses calendar tokens",
    Fault(status=401, path="calendar/meetings/{id}", times=1),
)


@contextmanager
def frozen(processes: list[psutil.Process]) -> Iterator[None]:
    """Stop processes in their tracks, and let them go on."""
    kill(*processes, sig=signal.SIGSTOP)
    try:
        yield
    finally:
        kill(*processes, sig=signal.SIGCONT)


def stutter(server: Server, over: threading.Event) -> None:
    """Let a server work a tenth of the time."""
    process = psutil.Process(server.process.pid)
    while not over.is_set():
        with frozen([process]):
            over.wait(0.6)
        over.wait(0.06)


@contextmanager
def memory_of_redis(rig: Rig, policy: str) -> Iterator[None]:
    """Give Redis less memory than it has taken already."""
    with client(rig.redis) as redis_client:
        redis_client.config_set("maxmemory-policy", policy)
        redis_client.config_set("maxmemory", "1mb" if policy == "noeviction" else "2mb")
        try:
            yield
        finally:
            redis_client.config_set("maxmemory", "0")
            redis_client.config_set("maxmemory-policy", "noeviction")


@contextmanager
def client(server: Server) -> Iterator[redis.Redis]:
    """A client of the test's own."""
    made = redis.Redis.from_url(server.url)
    yield made
    made.close()


def cut(admin: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Cut off every connection of the service's."""
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [ROLE]
    )


def of(rig: Rig) -> Server:
    """The rig's PostgreSQL."""
    if rig.postgres is None:
        raise LookupError("this rig stands on SQLite")
    return rig.postgres
