"""Room 1, the receiver: webhooks verified and committed a second, side by side on one core."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.checks import check_deliveries
from tests.bench.environment import (
    PEERS,
    WEB_CORE,
    BenchError,
    Ground,
    connected,
    is_listening,
    order,
    until,
)
from tests.bench.load import Order, messages
from tests.bench.metrics import cpu_seconds, pss_megabytes
from tests.bench.plan import Plan, interleaved
from tests.bench.results import Figure, Results, percentile, ratio
from tests.lab.stack.servers import free_port
from tests.lab.stack.stack import Process

ROOM = "receiver"
PATH = "/webhooks/recall"
SYNC = f"{PEERS}/gunicorn --bind 127.0.0.1:$PORT --log-level error tests.bench.peers.naive_app:app"
UVICORN = f"{PEERS}/uvicorn --port $PORT --no-access-log --log-level error"
OURS, NAIVE, EMPTY, ASYNC = "recall-links", "naive Flask", "empty 204", "FastAPI + asyncpg"
COMMANDS = {
    OURS: "python -m webhook",
    NAIVE: SYNC,
    "naive Flask, 3 processes": f"{SYNC} --workers 3",
    EMPTY: f"{PEERS}/python -m tests.bench.peers.empty",
    ASYNC: f"{UVICORN} tests.bench.peers.fastapi_app:app",
    "raw ASGI, group commit": f"{UVICORN} tests.bench.peers.raw_asgi:app",
}
TARGETS = {NAIVE: 3.0, EMPTY: 0.45, ASYNC: 0.8}
CONNECTIONS = 32
OPEN_RATE = 200
# More than any contender can take in the time of one slice.
MOST_PER_SECOND = 9000


@dataclass(slots=True)
class Contender:
    """One receiver, running, and what its rounds gave."""

    name: str
    database: str
    port: int
    process: Process
    per_second: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    sent: int = 0


def start(ground: Ground, name: str) -> Contender:
    """Start a receiver on a database of its own, on the web process's core."""
    database, port = ground.database(), free_port()
    environ = ground.service(database, ground.redis(), PORT=port)
    process = ground.run("web", COMMANDS[name], environ, WEB_CORE)
    until(lambda: is_listening(port), f"the start of {name}", process)
    return Contender(name, database, port, process)


def run(ground: Ground, plan: Plan, results: Results) -> None:
    """Measure every contender in interleaved rounds, closed and open loop."""
    contenders = {name: start(ground, name) for name in COMMANDS}
    for contender in contenders.values():
        # The first requests open connections and import what is late: they count for nobody.
        take_slice(ground, contender, seconds=0.5, bots=500)
    for turn, name in interleaved(list(COMMANDS), plan.rounds):
        plan.say(f"receiver, round {turn + 1} of {plan.rounds}: {name}")
        try:
            _measure(ground, plan, contenders[name])
        except BenchError as error:
            results.thrown_out.append(str(error))
            plan.say(f"[bold red]THROWN OUT: {error}[/]")
            contenders.pop(name)
    _tell(contenders, results)


def _measure(ground: Ground, plan: Plan, contender: Contender) -> None:
    seconds = plan.size(5, 2)
    before = cpu_seconds([contender.process.pid])
    tally = take_slice(ground, contender, seconds=seconds, bots=MOST_PER_SECOND * seconds)
    spent = cpu_seconds([contender.process.pid]) - before
    contender.per_second.append(len(tally["taken"]) / tally["seconds"])
    contender.cpu.append(spent / len(tally["taken"]) * 1000)
    contender.megabytes.append(pss_megabytes([contender.process.pid]))
    open_seconds = plan.size(10, 3)
    tally = take_slice(
        ground,
        contender,
        seconds=open_seconds + 5,
        bots=OPEN_RATE * open_seconds,
        rate=OPEN_RATE,
    )
    contender.milliseconds.append(percentile(tally["latencies"], 0.99))


def take_slice(
    ground: Ground, contender: Contender, *, seconds: float, bots: int, rate: float = 0
) -> dict[str, Any]:
    """Send for so many seconds, from where the last slice ended, and check every row."""
    wanted: dict[str, Any] = {"path": PATH, "prefix": "bench", "connections": CONNECTIONS}
    wanted |= {"first": contender.sent, "bots": bots, "seconds": seconds, "rate": rate}
    tally = order(contender.port, ground, **wanted)
    contender.sent += bots
    refused = {status for status in tally["statuses"] if status not in ("200", "202", "204")}
    if not tally["taken"] or refused or tally["unanswered"]:
        raise BenchError(f"{contender.name}: answered {tally['statuses']}")
    if contender.name != EMPTY:
        _check(ground, contender, wanted, tally["taken"])
    return tally


def _check(ground: Ground, contender: Contender, wanted: dict[str, Any], taken: list[int]) -> None:
    ids = messages(Order(port=contender.port, secret=ground.secret, **wanted))
    with connected(contender.database) as connection:
        check_deliveries(connection, [ids[place] for place in taken], contender.name)
        # Each slice begins on a table as small as the last one did.
        connection.execute("TRUNCATE deliveries")


def _tell(contenders: dict[str, Contender], results: Results) -> None:
    def add(what: str, values: Sequence[float], unit: str = "", most: float | None = None) -> None:
        results.add(Figure(ROOM, what, tuple(values), unit, at_most=most))

    ours = contenders[OURS]
    for name, other in contenders.items():
        if name != OURS:
            found = ratio(ours.per_second, other.per_second)
            least = TARGETS.get(name)
            results.add(Figure(ROOM, f"{OURS} to {name}", found, "×", at_least=least))
    for name, one in contenders.items():
        is_ours = name == OURS
        add(f"{name}: webhooks a second", one.per_second)
        add(f"{name}: CPU of the web process", one.cpu, "ms a webhook")
        what = f"{name}: p99 at {OPEN_RATE} a second, open loop"
        add(what, one.milliseconds, "ms", 50.0 if is_ours else None)
        add(f"{name}: web process", one.megabytes, "MB PSS", 90.0 if is_ours else None)
