"""The nightly check as one row for all workers: when it is due, its lease, its progress."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from models.tables.base import db_now
from models.tables.workspace_state import CALENDAR_SWEEP, WorkspaceState
from workers.db.workspace_state import write_state

# By day, meetings and operators need the rate limits.
NIGHT_HOUR = 3
# A lease that was not renewed for so long is a dead worker's: the slowest call takes 3 minutes.
LEASE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class NightlyRun:
    """One nightly check: when the next begins, how far it is, what it has done."""

    next_at: datetime
    lease_until: datetime | None = None
    # The last external_id that was checked; None when the check is over.
    position: str | None = None
    users: int = 0
    changed: int = 0
    failed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as stored in workspace_state."""
        lease = self.lease_until.isoformat() if self.lease_until else None
        kept = {"next_at": self.next_at.isoformat(), "lease_until": lease}
        counts = {"users": self.users, "changed": self.changed, "failed": self.failed}
        return {**kept, "position": self.position, **counts}

    @classmethod
    def read(cls, kept: dict[str, Any]) -> "NightlyRun":
        """Parse it; ValueError, KeyError or TypeError for anything else."""
        lease = kept["lease_until"]
        times = {
            "next_at": datetime.fromisoformat(kept["next_at"]),
            "lease_until": datetime.fromisoformat(lease) if lease else None,
        }
        counts = (kept["users"], kept["changed"], kept["failed"])
        if not all(isinstance(count, int) for count in counts):
            raise TypeError("a count is not a number")
        if not isinstance(kept["position"], str | None):
            raise TypeError("the position is not a name")
        return cls(**{**kept, **times})


def claim_nightly_run(connection: Connection) -> NightlyRun | None:
    """Claim the check that is due or was interrupted; None when there is none.

    Where no row exists, it only schedules the first night: a deployment at noon starts no check.
    """
    kept = select(WorkspaceState.value, db_now().label("now")).where(
        WorkspaceState.key == CALENDAR_SWEEP
    )
    # Locked: of two workers that find it due, the second then finds it claimed.
    row = connection.execute(kept.with_for_update()).one_or_none()
    run = _readable(row.value, row.now) if row else None
    if row is None or run is None:
        now = connection.execute(select(db_now())).scalar_one()
        _write(connection, NightlyRun(next_nightly_run(now)), now)
        return None
    lease_until = row.now + timedelta(seconds=LEASE_SECONDS)
    if run.lease_until is not None:
        if run.lease_until > row.now:
            return None
        claimed = replace(run, lease_until=lease_until)
    elif run.next_at <= row.now:
        claimed = NightlyRun(next_nightly_run(row.now), lease_until=lease_until)
    else:
        return None
    _write(connection, claimed, row.now)
    return claimed


def _readable(kept: dict[str, Any], now: datetime) -> NightlyRun | None:
    # An unreadable row, or a time too far in the future, skips one night and breaks no worker.
    try:
        run = NightlyRun.read(kept)
        latest_lease = now + timedelta(seconds=LEASE_SECONDS)
        is_held = run.lease_until is not None and run.lease_until > latest_lease
        return None if is_held or run.next_at > next_nightly_run(now) else run
    except (ValueError, KeyError, TypeError):
        return None


def next_nightly_run(now: datetime) -> datetime:
    """Return the next 03:00 UTC after this time."""
    tonight = now.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
    return tonight if tonight > now else tonight + timedelta(days=1)


def keep_nightly_run(
    connection: Connection, run: NightlyRun, *, is_over: bool = False
) -> NightlyRun:
    """Save the progress of a check and renew its lease; release it when it is over."""
    now = connection.execute(select(db_now())).scalar_one()
    lease_until = None if is_over else now + timedelta(seconds=LEASE_SECONDS)
    # No external_id is kept after the check: its user may be erased tomorrow.
    position = None if is_over else run.position
    kept = replace(run, lease_until=lease_until, position=position)
    _write(connection, kept, now)
    return kept


def _write(connection: Connection, run: NightlyRun, now: datetime) -> None:
    write_state(connection, CALENDAR_SWEEP, run.as_json(), now)
