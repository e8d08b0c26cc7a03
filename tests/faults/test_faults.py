"""Every fault, on a stack as deployed and under load: nothing lost, nothing twice, soon well."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.injectors import BREAKAGES, Breakage
from tests.faults.report import note
from tests.faults.stack import RECOVERY_SECONDS, Rig, Rigs, rigs_of, words


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rigs]:
    """Stacks to be broken."""
    with rigs_of(tmp_path_factory) as rigs:
        yield rigs


def cases(*names: str) -> list[Any]:
    """Each fault on each database it can befall, one database after the other."""
    return [
        pytest.param(kind, BREAKAGES[name], id=f"{kind}-{name.replace(' ', '-')}")
        for kind in ("postgresql", "sqlite")
        for name in names
        if kind in BREAKAGES[name].kinds
    ]


FAILED_JOB = "exception raised while executing"
IN_CI = (
    *("web killed", "rq worker killed", "dyno killed", "dyno frozen past its leases"),
    *("redis killed", "redis full", "postgres crashed", "postgres connections cut"),
    *("postgres read only", "sqlite locked", "recall says 503"),
)


def survive(rig: Rig, breakage: Breakage, request: pytest.FixtureRequest) -> None:
    """Break it for its time, under load, and look."""
    refused, failed = rig.figures.retried, words(rig).count(FAILED_JOB)
    with (
        note(request.node, rig.figures),
        rig.under_load(breakage.name) as wave,
        breakage.inject(rig),
    ):
        time.sleep(breakage.seconds)
    assert rig.figures.recoveries[-1] < RECOVERY_SECONDS
    if breakage.name.startswith("redis"):
        # It is a doorbell: for its sake no sender waits, and none has to come again.
        assert rig.figures.retried == refused
        # The middle one: some others wait for a busy machine.
        assert statistics.median(receipt.reply.ms for receipt in wave.receipts) < 500
    if breakage.name.startswith("postgres"):
        # A database that is away is waited for, and is no job's failure.
        assert words(rig).count(FAILED_JOB) == failed


@pytest.mark.parametrize(("kind", "breakage"), cases(*IN_CI))
def test_a_fault_costs_nothing(
    rigs: Rigs, kind: str, breakage: Breakage, request: pytest.FixtureRequest
) -> None:
    """The ones that are quick to show."""
    survive(rigs("quick", kind), breakage, request)


@pytest.mark.faults
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("kind", "breakage"), cases(*BREAKAGES))
def test_every_fault_costs_nothing(
    rigs: Rigs, kind: str, breakage: Breakage, request: pytest.FixtureRequest
) -> None:
    """All of them, with the settings as shipped."""
    survive(rigs("shipped", kind), breakage, request)
