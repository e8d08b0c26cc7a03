"""`./dev soak`: bots by the hour, faults among them, and a report of what came of it.

Each bot that comes draws each fault with the same small chance. Faults of one part come one after
the other, those of different parts at the same time.
"""

import json
import queue
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from models.tables.bot import Bot
from models.tables.delivery import Delivery
from tests.faults.injectors import BREAKAGES, Breakage
from tests.faults.report import Figures
from tests.faults.stack import RECOVERY_SECONDS, SPEEDS, Rig, Wave, a_rig, family, quietly
from tests.lab.stack.signals import end_as_by_ctrl_c

LOOK_SECONDS = 0.2
SAMPLE_SECONDS = 5.0
PARTS = {"web": "web", "everything": "web", "redis": "redis", "postgres": "postgres"}
PARTS |= {"sqlite": "postgres", "recall": "recall"}


@dataclass
class Report:
    """What a soak came to; times in seconds, memory in MB of proportional set size."""

    minutes: float
    bots: int
    faults: int
    accepted: int
    linked: int
    retried: int
    lost: int
    duplicated: int
    unsettled: int
    oldest_age: float
    recovery_p50: float
    recovery_max: float
    unexpected: list[str]
    by_fault: dict[str, int]
    memory: dict[str, list[float]]

    @property
    def is_good(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.duplicated or self.unsettled or self.unexpected)


@dataclass
class Watch:
    """What is seen from outside while it runs."""

    oldest_age: float = 0.0
    lifted: list[datetime] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    sample_at: float = 0.0
    unexpected: list[str] = field(default_factory=list)

    def look(self, rig: Rig) -> None:
        """Note the oldest debt, which faults are recovered from, and now and then the memory."""
        now = datetime.now(UTC)
        try:
            oldest = oldest_debt(rig)
        except SQLAlchemyError:
            # It is what is broken just now, and the debt is older when it is back.
            return
        if oldest is not None:
            self.oldest_age = max(self.oldest_age, (now - oldest).total_seconds())
        for lifted_at in list(self.lifted):
            if oldest is None or oldest > lifted_at:
                self.lifted.remove(lifted_at)
                self.recoveries.append((now - lifted_at).total_seconds())
        if time.monotonic() >= self.sample_at:
            self.sample_at = time.monotonic() + SAMPLE_SECONDS
            for role, megabytes in memory_of(rig).items():
                self.memory[role].append(round(megabytes, 1))


class Injector:
    """Breaks one part of a rig, one fault after the other."""

    def __init__(self, rig: Rig, watch: Watch) -> None:
        self._rig = rig
        self._watch = watch
        self._wanted: queue.SimpleQueue[Breakage | None] = queue.SimpleQueue()
        self.injected: Counter[str] = Counter()
        self._is_done = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def inject(self, breakage: Breakage) -> None:
        """Break it so, when it is this one's turn."""
        self._wanted.put(breakage)

    def finish(self) -> None:
        """Do what is still wanted."""
        self._wanted.put(None)
        self._is_done.wait()

    def _run(self) -> None:
        while (breakage := self._wanted.get()) is not None:
            try:
                with breakage.inject(self._rig):
                    time.sleep(breakage.seconds)
            except Exception as error:  # noqa: BLE001 - a fault of the lab's own must not go unsaid
                self._watch.unexpected.append(f"{breakage.name}: {error!r}"[:300])
            self.injected[breakage.name] += 1
            self._watch.lifted.append(datetime.now(UTC))
        self._is_done.set()
        # A server that this thread has started again is told to end when the thread does.
        threading.Event().wait()


def part_of(breakage: Breakage) -> str:
    """The part of a rig that a fault befalls."""
    return PARTS.get(breakage.name.partition(" ")[0], "workers")


def oldest_debt(rig: Rig) -> datetime | None:
    """Since when the oldest delivery is unapplied or the oldest bot owed; None when all is done."""
    unapplied = select(func.min(Delivery.received_at)).where(text(Delivery.IS_UNAPPLIED))
    owed = select(func.min(Bot.owed_since)).where(Bot.due_at.is_not(None))
    with rig.engine.connect() as connection:
        found = [connection.scalar(unapplied), connection.scalar(owed)]
    return min((moment for moment in found if moment is not None), default=None)


def memory_of(rig: Rig) -> dict[str, float]:
    """The memory of each kind of process, the largest of its kind."""
    found: dict[str, float] = {}
    for process in rig.stack.processes:
        for number, one in enumerate(family(process)):
            own = "dyno" if process is not rig.stack.web else "web"
            role = own if number == 0 else quietly(one)
            try:
                info = one.memory_full_info()
            except psutil.Error:
                continue
            # macOS tells no proportional set.
            size = getattr(info, "pss", info.uss) / 1024**2
            found[role] = max(size, found.get(role, 0.0))
    return {role: size for role, size in found.items() if role in ROLES}


ROLES = ("web", "dyno", "poller", "rq worker")


def soak(rig: Rig, minutes: float, bots_an_hour: float, share: float, rng: random.Random) -> Report:
    """Let bots come and things break for so long, then wait for the end and judge."""
    watch = Watch()
    breakages = [one for one in BREAKAGES.values() if rig.kind in one.kinds]
    injectors = {part: Injector(rig, watch) for part in sorted(set(map(part_of, breakages)))}
    waves: list[Wave] = []
    with progress_bar() as progress:
        task = progress.add_task("soaking", total=minutes * 60)
        started = time.monotonic()
        while (now := time.monotonic() - started) < minutes * 60:
            if len(waves) <= now * bots_an_hour / 3600:
                waves.append(rig.send(1, rate=5))
                for breakage in breakages:
                    if rng.random() < share:
                        injectors[part_of(breakage)].inject(breakage)
            watch.look(rig)
            progress.update(task, completed=now, description=f"{len(waves)} bots")
            time.sleep(LOOK_SECONDS)
        progress.update(task, completed=minutes * 60, description="waiting for the last")
        for injector in injectors.values():
            injector.finish()
        unexpected = settle_all(rig, waves, watch)
    by_fault = sum((injector.injected for injector in injectors.values()), Counter[str]())
    return report(rig.figures, watch, minutes, len(waves), by_fault, unexpected)


def settle_all(rig: Rig, waves: list[Wave], watch: Watch) -> list[str]:
    """Wait until everything is taken and settled, or for 60 s; returns what is not as promised."""
    until = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < until and (watch.lifted or any(w.is_owed for w in waves)):
        watch.look(rig)
        time.sleep(LOOK_SECONDS)
    said = []
    for wave in waves:
        try:
            wave.finish(1)
            wave.check()
        except AssertionError as error:
            said.append(f"{wave.bots[0].id}: {error}"[:300])
    return said


def report(
    figures: Figures,
    watch: Watch,
    minutes: float,
    bots: int,
    by_fault: Counter[str],
    unexpected: list[str],
) -> Report:
    """Sum it up."""
    recoveries = watch.recoveries or [0.0]
    # A fault that was not recovered from is none of the figures.
    never = [f"not recovered from {lifted_at:%H:%M:%S}" for lifted_at in watch.lifted]
    names = ("accepted", "linked", "retried", "lost", "duplicated", "unsettled")
    return Report(
        minutes=minutes,
        bots=bots,
        faults=by_fault.total(),
        **{name: getattr(figures, name) for name in names},
        oldest_age=round(watch.oldest_age, 1),
        recovery_p50=round(statistics.median(recoveries), 1),
        recovery_max=round(max(recoveries), 1),
        unexpected=[*watch.unexpected, *unexpected, *never],
        by_fault=dict(sorted(by_fault.items())),
        memory=dict(watch.memory),
    )


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on standard error, so that the report can be piped."""
    columns = (TextColumn("{task.description:<20}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield progress


def print_report(found: Report, console: Console) -> None:
    """Print it for people."""
    console.print(
        f"{found.minutes:g} minutes, {found.bots} bots, {found.faults} faults injected\n"
        f"{found.accepted} deliveries accepted, {found.linked} links, "
        f"{found.retried} attempts of the sender refused or cut\n"
        f"{found.lost} lost, {found.duplicated} duplicated, {found.unsettled} unsettled\n"
        f"oldest debt {found.oldest_age} s; "
        f"recovery p50 {found.recovery_p50} s, max {found.recovery_max} s"
    )
    memory = Table("memory (PSS, MB)", "first", "median", "most", "last")
    for role, sizes in found.memory.items():
        shown = (sizes[0], statistics.median(sizes), max(sizes), sizes[-1])
        memory.add_row(role, *(f"{size:.1f}" for size in shown))
    console.print(memory)
    faults = Table("fault", "times")
    for name, times in found.by_fault.items():
        faults.add_row(name, str(times))
    console.print(faults)
    for line in found.unexpected:
        console.print(line, markup=False)
    console.print("The promise was kept." if found.is_good else "The promise was NOT kept.")


@click.command()
@click.option("--minutes", default=10.0, help="How long bots come.")
@click.option("--bots-an-hour", default=1000.0)
@click.option("--share", default=0.02, help="Each bot's chance of each fault.")
@click.option("--database", type=click.Choice(["postgresql", "sqlite"]), default="postgresql")
@click.option("--quick", is_flag=True, help="Short leases and sweeps, for a short run.")
@click.option("--seed", default=1)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def main(**options: Any) -> None:
    """Let bots come and break things; exit 1 when anything was lost, doubled or left over."""
    speed = SPEEDS["quick" if options["quick"] else "shipped"]
    print(f"seed {options['seed']}", file=sys.stderr)
    rng = random.Random(options["seed"])
    with (
        tempfile.TemporaryDirectory(prefix="recall-links-") as folder,
        a_rig(options["database"], Path(folder), **speed) as rig,
    ):
        found = soak(rig, options["minutes"], options["bots_an_hour"], options["share"], rng)
    if options["as_json"]:
        print(json.dumps(asdict(found)))
    else:
        print_report(found, Console(width=None if sys.stdout.isatty() else 100, highlight=False))
    sys.exit(0 if found.is_good else 1)


if __name__ == "__main__":
    end_as_by_ctrl_c()
    main()
