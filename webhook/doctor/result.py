"""What doctor reports: one finding for each thing it checked."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One checked thing: its state, and what to do if something is wrong.

    `is_away` means that it could not be checked because the database or Recall did not answer; an
    alarm has a `title`.
    """

    level: Level
    name: str
    text: str
    remedy: str = ""
    is_away: bool = False
    title: str = ""
