"""What a doctor says: one finding for each thing that was looked at."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing looked at: how it is, and what to do where it is not well.

    `is_away` where it could not be looked at, since the database or Recall gives no answer.
    """

    level: Level
    name: str
    text: str
    remedy: str = ""
    is_away: bool = False
