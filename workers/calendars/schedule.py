"""The night's sweep as one row for the whole fleet: when it is due, who has it, how far it is."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from models.tables.base import db_now
from models.tables.workspace_state import CALENDAR_SWEEP, WorkspaceState
from workers.db.workspace_state import write_state

# By day an operator's own calls, and most meetings, want the rate limits.
NIGHT_HOUR = 3
# A claim that was not renewed for so long is a dead dyno's: the slowest call takes 3 minutes.
LEASE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class NightlyRun:
    """One night's sweep: when the next begins, whom it has come to, what it has done."""

    next_at: datetime
    lease_until: datetime | None = None
    # The last external_id that was looked at; None when the night is over.
    position: str | None = None
    users: int = 0
    changed: int = 0
    failed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return what workspace_state keeps of it."""
        lease = self.lease_until.isoformat() if self.lease_until else None
        kept = {"next_at": self.next_at.isoformat(), "lease_until": lease}
        counts = {"users": self.users, "changed": self.changed, "failed": self.failed}
        return {**kept, "position": self.position, **counts}

    @classmethod
    def read(cls, kept: dict[str, Any]) -> "NightlyRun":
        """Read it back; ValueError, KeyError or TypeError for what is none."""
        lease = kept["lease_until"]
        times = {
            "next_at": datetime.fromisoformat(kept["next_at"]),
            "lease_until": datetime.fromisoformat(lease) if lease else None,
        }
        counts = (kept["users"], kept["changed"], kept["failed"])
        if not all(isinstance(count, int) for count in counts):
            raise TypeError("a count is none")
        if not isinstance(kept["position"], str | None):
            raise TypeError("the position is no name")
        return cls(**{**kept, **times})


def claim_nightly_run(connection: Connection) -> NightlyRun | None:
    """Claim the sweep that is due, or one that was cut off; None when there is none.

    On first sight it only sets the hour: a deployment at noon is no reason to look by day.
    """
    kept = select(WorkspaceState.value, db_now().label("now")).where(
        WorkspaceState.key == CALENDAR_SWEEP
    )
    # Locked: of two workers that see it due, the second finds it claimed.
    row = connection.execute(kept.with_for_update()).one_or_none()
    night = _readable(row.value, row.now) if row else None
    if row is None or night is None:
        now = connection.execute(select(db_now())).scalar_one()
        _write(connection, NightlyRun(next_nightly_run(now)), now)
        return None
    lease_until = row.now + timedelta(seconds=LEASE_SECONDS)
    if night.lease_until is not None:
        if night.lease_until > row.now:
            return None
        claimed = replace(night, lease_until=lease_until)
    elif night.next_at <= row.now:
        claimed = NightlyRun(next_nightly_run(row.now), lease_until=lease_until)
    else:
        return None
    _write(connection, claimed, row.now)
    return claimed


def _readable(kept: dict[str, Any], now: datetime) -> NightlyRun | None:
    # What is no night, or one that never comes, costs one night and no worker.
    try:
        night = NightlyRun.read(kept)
        latest_lease = now + timedelta(seconds=LEASE_SECONDS)
        is_held = night.lease_until is not None and night.lease_until > latest_lease
        return None if is_held or night.next_at > next_nightly_run(now) else night
    except (ValueError, KeyError, TypeError):
        return None


def next_nightly_run(now: datetime) -> datetime:
    """Return the next three o'clock in the morning, UTC, after a moment."""
    tonight = now.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
    return tonight if tonight > now else tonight + timedelta(days=1)


def keep_nightly_run(
    connection: Connection, night: NightlyRun, *, is_over: bool = False
) -> NightlyRun:
    """Write how far a sweep is, and renew its lease; over, it is nobody's until the next night."""
    now = connection.execute(select(db_now())).scalar_one()
    lease_until = None if is_over else now + timedelta(seconds=LEASE_SECONDS)
    # No external_id outlives the night: who is erased tomorrow must not stand here.
    position = None if is_over else night.position
    kept = replace(night, lease_until=lease_until, position=position)
    _write(connection, kept, now)
    return kept


def _write(connection: Connection, night: NightlyRun, now: datetime) -> None:
    write_state(connection, CALENDAR_SWEEP, night.as_json(), now)
