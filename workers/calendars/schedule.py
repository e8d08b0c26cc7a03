"""The nightly check's turn: when it is due, and its progress."""

from dataclasses import dataclass, replace
from datetime import datetime, time

from sqlalchemy import Connection

from models.tables.workspace_state import CALENDAR_SWEEP
from workers.db.nightly import NightlySchedule, NightlyTurn

# By day, meetings and operators need the rate limits.
NIGHT_HOUR = 3


@dataclass(frozen=True, slots=True)
class NightlyRun(NightlyTurn):
    """One nightly check: how far it is, and what it has done."""

    # The last external_id that was checked; None when the check is over.
    position: str | None = None
    users: int = 0
    changed: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no check has stored."""
        counts = (self.users, self.changed, self.failed)
        if not all(isinstance(count, int) for count in counts):
            raise TypeError("a count is not a number")
        if not isinstance(self.position, str | None):
            raise TypeError("the position is not a name")


def claim_nightly_run(connection: Connection) -> NightlyRun | None:
    """Claim the check that is due or was interrupted; None when there is none."""
    return _schedule().claim(connection)


def next_nightly_run(now: datetime) -> datetime:
    """Return the next 03:00 UTC after this time."""
    return _schedule().next_after(now)


def keep_nightly_run(
    connection: Connection, run: NightlyRun, *, is_over: bool = False
) -> NightlyRun:
    """Save the progress of a check and renew its lease; release it when it is over."""
    # No external_id is kept after the check: its user may be erased tomorrow.
    kept = replace(run, position=None) if is_over else run
    return _schedule().keep(connection, kept, is_over=is_over)


def _schedule() -> NightlySchedule[NightlyRun]:
    return NightlySchedule(CALENDAR_SWEEP, time(NIGHT_HOUR), NightlyRun)
