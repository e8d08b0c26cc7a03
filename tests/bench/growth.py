"""Room 5, growth: every question at every decade of links, and what a drain costs then."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

from models.settings.environment import Settings
from tests.bench.environment import READ_TOKEN, BenchError, Ground, connected, is_listening, until
from tests.bench.generate import grow
from tests.bench.plan import Plan
from tests.bench.questions import addresses, sql_questions
from tests.bench.results import Figure, Results, percentile, plain
from tests.bench.workers import OURS, Contender, measure, start
from tests.bench.world import World
from tests.lab.stack.servers import free_port
from webhook.app import create_app

ROOM = "growth"
FIRST = 10_000
MOST_BOTS_DRAINED = 1_000_000
# Drained bots are numbered beyond every generated one.
BEYOND = 100_000_000
MOST_MS, MOST_GROWTH = 50.0, 2.0
# Below this a ratio tells of the machine's noise alone.
FLOOR_MS = 2.0


@dataclass(slots=True)
class Asked:
    """One question and its 95th percentile at each decade, in milliseconds."""

    kind: str
    name: str
    ask: Callable[[], object]
    found: dict[int, float] = field(default_factory=dict)

    @property
    def last(self) -> float:
        """At the last decade."""
        return self.found[max(self.found)]

    @property
    def growth(self) -> float:
        """Last to first."""
        return max(self.last, FLOOR_MS) / max(self.found[min(self.found)], FLOOR_MS)


def run(ground: Ground, plan: Plan, results: Results) -> None:
    """Grow one database by decades and ask everything at each of them."""
    drainer = start(ground, ground.fake(), OURS)
    drainer.linked = BEYOND
    drained: dict[int, tuple[float, float]] = {}
    decades = [d for d in (FIRST * 10**n for n in range(4)) if d <= plan.most_links]
    with connected(drainer.database) as connection, _client(ground, drainer) as client:
        asked = [*_sql(connection), *_pages(client, ground, drainer)]
        before = 0
        for decade in decades:
            grow(connection, before, decade, plan)
            before = decade
            plan.say(f"growth: asking {len(asked)} questions of {decade:,} links")
            for one in asked:
                one.found[decade] = _p95(one.ask, plan.size(40, 8))
            if decade <= MOST_BOTS_DRAINED:
                drained[decade] = _drain(drainer, plan)
    _tell(asked, results)
    _tell_drained(drained, results)


def _client(ground: Ground, drainer: Contender) -> httpx.Client:
    port = free_port()
    web = ground.run("web", "python -m webhook", drainer.environ | {"PORT": port})
    until(lambda: is_listening(port), "the start of the web process", web)
    headers = {"authorization": f"Bearer {READ_TOKEN}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60)


def _sql(connection: "psycopg.Connection[tuple[Any, ...]]") -> list[Asked]:
    def asking(sql: str) -> Callable[[], object]:
        return lambda: connection.execute(sql).fetchall()

    return [Asked("SQL", name, asking(sql)) for name, sql in sql_questions().items()]


def _pages(client: httpx.Client, ground: Ground, drainer: Contender) -> list[Asked]:
    settings = Settings.read({name: str(value) for name, value in drainer.environ.items()})
    found = addresses(create_app(settings))

    def asking(path: str) -> Callable[[], object]:
        return lambda: _get(client, path)

    return [Asked(kind, path, asking(path)) for kind, paths in found.items() for path in paths]


def _get(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    # A page that sends elsewhere is a question as well; a refusal is not an answer.
    if answer.status_code >= 400 and answer.status_code != 404:
        raise BenchError(f"GET {path}: {answer.status_code} {answer.text[:300]}")


def _p95(ask: Callable[[], object], times: int) -> float:
    found = []
    for turn in range(times + 2):
        started = time.perf_counter()
        ask()
        # Two of them warm the caches: a page that is asked for often is what is promised.
        if turn >= 2:
            found.append((time.perf_counter() - started) * 1000)
    return percentile(found, 0.95)


def _drain(drainer: Contender, plan: Plan) -> tuple[float, float]:
    found = measure(drainer, World(), plan.size(400, 100))
    return 1000 / found.per_second, found.cpu_ms


def _tell(asked: list[Asked], results: Results) -> None:
    for kind in ("SQL", "API", "console"):
        group = [one for one in asked if one.kind == kind]
        if not group:
            continue
        slowest = max(group, key=lambda one: one.last)
        steepest = max(group, key=lambda one: one.growth)
        at = f"{max(slowest.found):,} links"
        results.add(
            Figure(
                ROOM, f"{kind}: slowest of {len(group)}, p95 at {at}", (slowest.last,), "ms",
                at_most=MOST_MS, note=f"{slowest.name} ({_decades(slowest)})",
            )
        )  # fmt: skip
        results.add(
            Figure(
                ROOM, f"{kind}: steepest growth from {min(slowest.found):,} links",
                (steepest.growth,), "×", at_most=MOST_GROWTH,
                note=f"{steepest.name} ({_decades(steepest)})",
            )
        )  # fmt: skip
        for one in group:
            results.add(Figure(ROOM, f"{kind}: {one.name}", (one.last,), "ms", note=_decades(one)))


def _decades(one: Asked) -> str:
    return " · ".join(f"{decade:,}: {plain(ms)}" for decade, ms in one.found.items())


def _tell_drained(drained: dict[int, tuple[float, float]], results: Results) -> None:
    for place, what in enumerate(("time", "CPU")):
        costs = {decade: cost[place] for decade, cost in drained.items()}
        if costs:
            note = " · ".join(f"{decade:,}: {plain(ms)} ms" for decade, ms in costs.items())
            growth = costs[max(costs)] / costs[min(costs)]
            name = f"a drain's {what} per bot, {max(costs):,} bots on file to {min(costs):,}"
            results.add(Figure(ROOM, name, (growth,), "×", at_most=MOST_GROWTH, note=note))
