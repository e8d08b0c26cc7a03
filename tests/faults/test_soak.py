"""The soak itself: a short one under load, and that it can tell a promise that was broken."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.faults.soak import Report

GOOD = Report(
    minutes=1,
    bots=1,
    faults=1,
    accepted=1,
    linked=1,
    retried=1,
    lost=0,
    duplicated=0,
    unsettled=0,
    oldest_age=1.0,
    recovery_p50=1.0,
    recovery_max=1.0,
    unexpected=[],
    by_fault={},
    memory={},
)


def test_a_short_soak_loses_and_doubles_nothing() -> None:
    """A few seconds of the same, at six times the rate, with faults of several kinds."""
    options = ["--minutes", "0.12", "--bots-an-hour", "6000", "--quick", "--json", "--seed", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.soak", *options],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    # How many a busy machine gets to send in seven seconds is no promise.
    assert report["bots"] >= 3
    assert report["faults"] >= 3
    assert report["accepted"] > report["bots"]
    assert (report["lost"], report["duplicated"], report["unsettled"]) == (0, 0, 0)
    assert {"web", "dyno", "poller"} <= set(report["memory"])


@pytest.mark.parametrize(
    "broken",
    [{"lost": 1}, {"duplicated": 1}, {"unsettled": 1}, {"unexpected": ["not recovered from …"]}],
)
def test_a_broken_promise_is_told(broken: dict[str, Any]) -> None:
    """Each of them alone makes the soak fail."""
    assert GOOD.is_good
    assert not dataclasses.replace(GOOD, **broken).is_good
