"""Room 3, economy: calls to Recall for each bot, and bot GETs a minute under Recall's limit."""

import time
from itertools import pairwise
from typing import Any

import psycopg

from tests.bench.checks import check_links, count
from tests.bench.environment import (
    WEB_CORE,
    BenchError,
    Fake,
    Ground,
    connected,
    is_listening,
    until,
)
from tests.bench.environment import order as send
from tests.bench.plan import Plan
from tests.bench.receiver import COMMANDS as WEB
from tests.bench.receiver import NAIVE, OURS, PATH
from tests.bench.results import Figure, Results
from tests.bench.workers import COMMANDS as WORKER
from tests.bench.workers import RQ
from tests.bench.world import CODES, World
from tests.lab.stack.servers import free_port

ROOM = "economy"
USERS = 400
MIXED = World(USERS, is_mixed=True)
# Recall's limit on Retrieve Bot, for the workspace (https://docs.recall.ai/reference/bot_retrieve).
LIMIT = 300
LEAST_CALLS = 2.33
SETTLED = "SELECT count(*) FROM bots WHERE due_at IS NULL AND settled_at IS NOT NULL"
SEALED = f"{SETTLED} AND sealed_at IS NOT NULL"
WAIT_SECONDS = 300.0


def run(ground: Ground, plan: Plan, results: Results) -> None:
    """Count calls in a realistic mix, ours and the naive way; then run into the limit."""
    _count_ours(ground, plan, results)
    _count_naive(ground, plan, results)
    _run_into_the_limit(ground, plan, results)


def _fake(ground: Ground, *options: str) -> Fake:
    return ground.fake("--users", str(USERS), "--mixed", *options)


def _stack(ground: Ground, fake: Fake, web: str, worker: str, **settings: object) -> dict[str, Any]:
    environ = ground.service(ground.database(), ground.redis(), PORT=free_port(), **settings)
    environ |= {"RECALL_API_BASE_URL": fake.url, "SSL_CERT_FILE": fake.roots}
    process = ground.run("web", WEB[web], environ, WEB_CORE)
    port: Any = environ["PORT"]
    until(lambda: is_listening(port), "the start of the web process", process)
    process = ground.run("worker", worker, environ)
    return {"port": port, "database": environ["DATABASE_URL"], "worker": process} | environ


def _post(
    ground: Ground, stack: dict[str, Any], bots: int, codes: tuple[str, ...], first: int = 0
) -> None:
    wanted = {"path": PATH, "first": first, "bots": bots, "codes": codes, "prefix": "economy"}
    tally = send(stack["port"], ground, **wanted, seconds=WAIT_SECONDS)
    if len(tally["taken"]) != bots * len(codes):
        raise BenchError(f"not every webhook was taken: {tally['statuses']}")


def _count_ours(ground: Ground, plan: Plan, results: Results) -> None:
    bots, fake = plan.size(4000, 300), _fake(ground)
    stack = _stack(ground, fake, OURS, WORKER[OURS], RECALL_RATE_SHARE=100_000)
    plan.say(f"economy: {bots} bots, seven events each, then the terminal one")
    with connected(stack["database"]) as connection:
        # The worst case: every bot is looked up before its end is known.
        for codes, done in ((CODES[:-1], SETTLED), (CODES[-1:], SEALED)):
            _post(ground, stack, bots, codes)
            _until_count(connection, done, bots)
        check_links(connection, MIXED, range(bots), OURS)
    calls = fake.control("/_stats")["calls"]
    per_bot = sum(calls.values()) / bots
    note = f"8 events, 1.33 meetings a bot, {USERS} users, {bots} bots: {calls}"
    # A short run has as many tokens and fewer bots: its figure is told, and held against nothing.
    most = None if plan.is_quick else 3.5
    results.add(Figure(ROOM, "calls a bot", (per_bot,), at_most=most, note=note))
    minimum = LEAST_CALLS + USERS / bots
    results.add(Figure(ROOM, "the minimum: one look, a token a user", (minimum,)))


def _count_naive(ground: Ground, plan: Plan, results: Results) -> None:
    bots, fake = plan.size(12, 3), _fake(ground)
    stack = _stack(ground, fake, NAIVE, WORKER[RQ])
    plan.say(f"economy, the naive way: {bots} bots")
    _post(ground, stack, bots, CODES)
    with connected(stack["database"]) as connection:
        least = len(CODES) * (bots + 2 * len(MIXED.links(range(bots))))
        until(
            lambda: sum(fake.control("/_stats")["calls"].values()) >= least,
            "the naive worker's end",
        )
        until(lambda: count(connection, "links") == len(MIXED.links(range(bots))), "its links")
        check_links(connection, MIXED, range(bots), NAIVE)
    calls = fake.control("/_stats")["calls"]
    results.add(Figure(ROOM, "naive: calls a bot", (sum(calls.values()) / bots,), note=str(calls)))


def _run_into_the_limit(ground: Ground, plan: Plan, results: Results) -> None:
    minutes = plan.size(5, 1)
    stack = _stack(ground, _fake(ground), OURS, WORKER[OURS], RECALL_RATE_SHARE=100_000)
    # As in any other minute of a day: each user's token is at hand, for twenty hours.
    _post(ground, stack, USERS, CODES[-1:])
    with connected(stack["database"]) as connection:
        _until_count(connection, SEALED, USERS)
    stack["worker"].stop()
    fake = _fake(ground, "--limit", str(LIMIT))
    limited = {"RECALL_API_BASE_URL": fake.url, "SSL_CERT_FILE": fake.roots}
    _post(ground, stack, LIMIT * (minutes + 1), CODES[-1:], first=USERS)
    del stack["RECALL_RATE_SHARE"], stack["worker"]
    ground.run("worker", WORKER[OURS], stack | limited)
    plan.say(f"economy: {minutes} min against a limit of {LIMIT} bot GETs a minute")
    time.sleep(60 * minutes + 15)
    stats = fake.control("/_stats")
    rates = steady_rates(stats["bot_gets"], minutes)
    unit, note = "a minute", f"limit {LIMIT} in any 60 s"
    results.add(Figure(ROOM, "bot GETs sustained", rates, unit, at_least=285.0, note=note))
    results.add(Figure(ROOM, "answers 429", (float(stats["refused"]),), at_most=0.0))


def steady_rates(times: list[float], minutes: int) -> tuple[float, ...]:
    """Return the calls of each full minute, the first five seconds (a burst) left out."""
    start = times[0] + 5
    ends = [start + 60 * turn for turn in range(minutes + 1)]
    return tuple(float(sum(begin <= at < end for at in times)) for begin, end in pairwise(ends))


def _until_count(
    connection: "psycopg.Connection[tuple[Any, ...]]", statement: str, wanted: int
) -> None:
    give_up_at = time.monotonic() + WAIT_SECONDS
    while (row := connection.execute(statement).fetchone()) and row[0] < wanted:
        if time.monotonic() > give_up_at:
            raise BenchError(f"only {row[0]} of {wanted} bots were settled")
        time.sleep(0.2)
