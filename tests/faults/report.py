"""The figures of a run with faults, gathered from its tests and summed up at its end."""

import copy
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

NAMES = ("accepted", "linked", "retried", "lost", "duplicated", "unsettled")
PROPERTY = "figures"


@dataclass
class Figures:
    """What was done to a rig and what came of it; adds up over many waves."""

    faults: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    linked: int = 0
    retried: int = 0
    lost: int = 0
    duplicated: int = 0
    unsettled: int = 0
    recoveries: list[float] = field(default_factory=list)


@contextmanager
def note(item: pytest.Item, figures: Figures) -> Iterator[None]:
    """Hand on what the block added to the figures: a report travels from xdist's workers."""
    before = copy.deepcopy(figures)
    try:
        yield
    finally:
        gained = {name: getattr(figures, name) - getattr(before, name) for name in NAMES}
        gained["faults"] = figures.faults.total() - before.faults.total()
        gained["recoveries"] = figures.recoveries[len(before.recoveries) :]
        item.user_properties.append((PROPERTY, gained))


def sum_up(reports: Iterable[Any]) -> list[str]:
    """What all tests of a run came to, a line for each and one for all; none for no fault."""
    noted = [
        (report.nodeid.partition("::")[2], value)
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == PROPERTY and report.when == "call"
    ]
    lines = [f"{max(one['recoveries']):6.1f} s  {test}" for test, one in noted if one["recoveries"]]
    recoveries = [seconds for _, one in noted for seconds in one["recoveries"]]
    if not recoveries:
        return []
    total = {name: sum(one[name] for _, one in noted) for name in ("faults", *NAMES)}
    return [*sorted(lines), sentence(total, recoveries)]


def sentence(total: Mapping[str, int], recoveries: Sequence[float]) -> str:
    """All of it in one sentence."""
    return (
        f"{total['faults']} faults injected, {total['accepted']} deliveries accepted, "
        f"{total['linked']} links, {total['retried']} retried by the sender, "
        f"{total['lost']} lost, {total['duplicated']} duplicated, {total['unsettled']} unsettled; "
        f"recovery p50 {statistics.median(recoveries):.1f} s, max {max(recoveries):.1f} s"
    )
