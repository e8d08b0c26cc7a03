"""How much of everything a run does, and how it says where it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds and sizes; `is_quick` is for looking whether it works, not for a page."""

    rounds: int
    is_quick: bool
    most_links: int
    console: Console

    def size(self, full: int, quick: int) -> int:
        """Return the one or the other."""
        return quick if self.is_quick else full

    def say(self, text: str) -> None:
        """Tell where the run is; on stderr, since stdout may be JSON."""
        self.console.print(f"[dim]{text}[/dim]", highlight=False)


def interleaved(names: Sequence[str], rounds: int) -> list[tuple[int, str]]:
    """Return (round, name), each round beginning with another name: none is always first."""
    return [
        (turn, names[(turn + place) % len(names)])
        for turn in range(rounds)
        for place in range(len(names))
    ]
