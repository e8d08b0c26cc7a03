"""Figures: what was measured in each round, what it is held against, and the verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

Verdict = Literal["met", "missed", ""]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the result: a number a round, with a target or told for its own sake.

    A ratio is made round by round, since only neighbours in time saw the same machine.
    """

    room: str
    what: str
    values: tuple[float, ...]
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def middle(self) -> float:
        """The median over the rounds."""
        return median(self.values)

    @property
    def target(self) -> str:
        """The target in words; empty where there is none."""
        if self.at_least is not None:
            return f"≥ {plain(self.at_least)}"
        return f"≤ {plain(self.at_most)}" if self.at_most is not None else ""

    @property
    def verdict(self) -> Verdict:
        """Whether the median is on the target's right side."""
        if self.at_least is not None:
            return "met" if self.middle >= self.at_least else "missed"
        if self.at_most is not None:
            return "met" if self.middle <= self.at_most else "missed"
        return ""

    @property
    def spread(self) -> str:
        """The lowest and the highest round; empty where there was one."""
        if len(self.values) < 2:
            return ""
        return f"{plain(min(self.values))} … {plain(max(self.values))}"

    def as_json(self) -> dict[str, Any]:
        """Return it for a machine, each round's number included."""
        return {
            "room": self.room,
            "what": self.what,
            "unit": self.unit,
            "median": self.middle,
            "rounds": list(self.values),
            "at_least": self.at_least,
            "at_most": self.at_most,
            "verdict": self.verdict,
            "note": self.note,
        }


@dataclass(slots=True)
class Results:
    """What a run has found, and what was thrown out of it."""

    figures: list[Figure] = field(default_factory=list)
    thrown_out: list[str] = field(default_factory=list)

    def add(self, figure: Figure) -> None:
        """Keep one figure; one without a value is none."""
        if figure.values:
            self.figures.append(figure)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Return ours to theirs, round by round."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=False) if b)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def plain(number: float | None) -> str:
    """Return a number in three digits or so."""
    if number is None:
        return ""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.2f}" if abs(number) < 10 else f"{number:.1f}"
