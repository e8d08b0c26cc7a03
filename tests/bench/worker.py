"""Room 2, the worker: bots linked a second, three calls each, of 50 and of 200 ms."""

from statistics import median
from typing import Any

from tests.bench.environment import BenchError, Ground
from tests.bench.plan import Plan, interleaved
from tests.bench.results import Figure, Results, ratio
from tests.bench.workers import (
    ARQ,
    CELERY,
    COMMANDS,
    DRAMATIQ,
    OURS,
    RQ,
    THREADS,
    TWO,
    Contender,
    measure,
    start,
)
from tests.bench.world import World

ROOM = "worker"
DELAYS_MS = (50, 200)
# With less of the machine idle than this, a second process takes its time from somebody else.
SPARE = 0.15
# What a contender might do in a second at 50 ms a call, so that each slice takes about as long.
PACE = {OURS: 200, TWO: 300, RQ: 2, DRAMATIQ: 180, CELERY: 130, ARQ: 60}


def run(ground: Ground, plan: Plan, results: Results) -> None:
    """Measure every contender in interleaved rounds; each has a user of its own for each bot."""
    fake = ground.fake()
    contenders = {name: start(ground, fake, name) for name in COMMANDS}
    for turn, name in interleaved(list(COMMANDS), plan.rounds):
        if name not in contenders:
            continue
        for delay in DELAYS_MS:
            plan.say(f"worker, round {turn + 1} of {plan.rounds}: {name} at {delay} ms a call")
            fake.control(f"/_delay/{delay}")
            count = count_for(name, delay, plan.size(8, 2))
            try:
                found = measure(contenders[name], World(), count)
            except BenchError as error:
                results.thrown_out.append(str(error))
                plan.say(f"[bold red]THROWN OUT: {error}[/]")
                contenders.pop(name)
                break
            contenders[name].slices.setdefault(delay, []).append(found)
    for delay in DELAYS_MS:
        _tell(contenders, delay, results)


def count_for(name: str, delay: int, seconds: int) -> int:
    """How many bots this contender may link in so many seconds, three at least."""
    return max(3, int(PACE[name] * seconds * min(1.0, 60 / delay)))


def _tell(contenders: dict[str, Contender], delay: int, results: Results) -> None:
    def add(what: str, values: Any, unit: str, **target: float) -> None:
        note = f"{delay} ms a call"
        results.add(Figure(ROOM, what, tuple(values), unit, note=note, **target))

    slices = {name: one.slices.get(delay, []) for name, one in contenders.items()}
    speed = {name: [one.per_second for one in found] for name, found in slices.items()}
    cpu = {name: [one.cpu_ms for one in found] for name, found in slices.items()}
    targets = {RQ: 40.0, DRAMATIQ: 1.0, CELERY: 1.0}
    for name in (RQ, DRAMATIQ, CELERY, ARQ):
        if name in speed:
            limit = {"at_least": targets[name]} if name in targets else {}
            add(f"{OURS} to {name}, links a second", ratio(speed[OURS], speed[name]), "×", **limit)
    for name in (DRAMATIQ, CELERY):
        if name in cpu:
            add(f"CPU per link to {name}'s", ratio(cpu[OURS], cpu[name]), "×", at_most=1.0)
    if TWO in speed:
        spare = median(one.idle for one in slices[TWO])
        # A target only while the machine has cores to give, as the row then says.
        limit = {"at_least": 1.7} if spare >= SPARE else {}
        what = f"two processes to one, {100 * spare:.0f} % idle"
        add(what, ratio(speed[TWO], speed[OURS]), "×", **limit)
    for name, found in slices.items():
        add(f"{name}: links a second, {THREADS} at once", speed[name], "")
        add(f"{name}: CPU", cpu[name], "ms a link")
        limit = {"at_most": 140.0} if name == OURS else {}
        add(f"{name}: the whole dyno, at most", [one.megabytes for one in found], "MB PSS", **limit)
