"""Kill -9 at every point from receiving to delivering: each is met, and costs nothing."""

import functools
import importlib
from collections.abc import Iterator

import pytest

from tests.faults.crash_points import POINTS
from tests.faults.report import note
from tests.faults.stack import Rig, Rigs, rigs_of
from tests.support.processes import until

WEB = [point for point, where in POINTS.items() if where.startswith("webhook")]
IN_CI = (
    *("between commit and answer", "applying, bots written", "claimed", "meeting fetched"),
    *("saving, before the commit", "saved", "reporting, events written", "delivery posted"),
)


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rigs]:
    """Stacks that can be told where to die."""
    with rigs_of(tmp_path_factory, is_doomed=True, has_endpoint=True) as rigs:
        yield rigs


def die(rig: Rig, request: pytest.FixtureRequest, point: str, who: str) -> None:
    """Send webhooks, let somebody die at this point, and see how it ends."""
    with note(request.node, rig.figures), rig.under_load(f"killed: {point}", bots=6):
        rig.doom(point, who)
        # A point that nobody reaches would prove nothing.
        until(lambda: not rig.doom_file.exists(), f"a death at: {point}")


def cases(*chosen: tuple[str, str]) -> list[object]:
    """Each point and who dies with it, on both databases."""
    return [
        pytest.param(kind, point, who, id=f"{kind}-{who}-{point.replace(' ', '-')}")
        for kind in ("postgresql", "sqlite")
        for point, who in chosen
    ]


@pytest.mark.parametrize("where", POINTS.values())
def test_a_point_is_a_function_that_exists(where: str) -> None:
    """One that was renamed would keep every stack from starting."""
    module, name, _ = where.split(":")
    assert callable(functools.reduce(getattr, name.split("."), importlib.import_module(module)))


@pytest.mark.parametrize(("kind", "point", "who"), cases(*((point, "self") for point in IN_CI)))
def test_a_death_costs_nothing(
    rigs: Rigs, request: pytest.FixtureRequest, kind: str, point: str, who: str
) -> None:
    """The points at which most could be lost or doubled."""
    die(rigs("quick", kind), request, point, who)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("kind", "point", "who"),
    cases(
        *((point, "self") for point in POINTS),
        *((point, "dyno") for point in POINTS if point not in WEB),
        ("job prepared", "parent"),
        ("meeting fetched", "parent"),
        ("saving, before the commit", "parent"),
    ),
)
def test_a_death_at_any_point_costs_nothing(
    rigs: Rigs, request: pytest.FixtureRequest, kind: str, point: str, who: str
) -> None:
    """Of the process that is there, of it and its parent, of its whole dyno."""
    die(rigs("quick", kind), request, point, who)
