"""A nightly job as one row for all workers: when it is due, whose turn it is, what it keeps."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime, time, timedelta
from time import monotonic
from typing import Any, Generic, Self, TypeVar

from sqlalchemy import Connection, Engine, select

from models.tables.base import db_now
from models.tables.workspace_state import WorkspaceState
from workers.db.workspace_state import write_state

# A lease that was not renewed for so long is a dead worker's: the slowest call takes 3 minutes.
LEASE_SECONDS = 600.0
LOOK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class NightlyTurn:
    """One night's turn: when the next night begins, and until when this worker has the job."""

    next_at: datetime
    lease_until: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as stored in workspace_state."""
        kept = {one.name: getattr(self, one.name) for one in fields(self)}
        return {n: v.isoformat() if isinstance(v, datetime) else v for n, v in kept.items()}

    @classmethod
    def read(cls, kept: dict[str, Any]) -> Self:
        """Parse it; ValueError, KeyError or TypeError for anything else."""
        lease = kept["lease_until"]
        times = {
            "next_at": datetime.fromisoformat(kept["next_at"]),
            "lease_until": datetime.fromisoformat(lease) if lease else None,
        }
        return cls(**{**kept, **times})


T = TypeVar("T", bound=NightlyTurn)


@dataclass(frozen=True, slots=True)
class NightlySchedule(Generic[T]):
    """When a job runs (UTC), the key of its row, and what kind of turn the row holds."""

    key: str
    at: time
    kind: type[T]

    def claim(self, connection: Connection) -> T | None:
        """Claim the turn that is due or was interrupted; None when there is none.

        Where no row exists, it only schedules the first night: a deployment at noon starts no job.
        """
        kept = select(WorkspaceState.value, db_now().label("now"))
        # Locked: of two workers that find it due, the second then finds it claimed.
        locked = kept.where(WorkspaceState.key == self.key).with_for_update()
        row = connection.execute(locked).one_or_none()
        turn = self._readable(row.value, row.now) if row else None
        if row is None or turn is None:
            now = connection.execute(select(db_now())).scalar_one()
            self._write(connection, self.kind(self.next_after(now)), now)
            return None
        if turn.lease_until is not None and turn.lease_until > row.now:
            return None
        lease_until = row.now + timedelta(seconds=LEASE_SECONDS)
        # A new night begins anew, also when the last one never came to its end.
        if turn.next_at <= row.now:
            claimed = self.kind(self.next_after(row.now), lease_until)
        elif turn.lease_until is not None:
            claimed = replace(turn, lease_until=lease_until)
        else:
            return None
        self._write(connection, claimed, row.now)
        return claimed

    def keep(
        self,
        connection: Connection,
        turn: T,
        *,
        is_over: bool = False,
        seconds: float | None = None,
    ) -> T:
        """Save a turn and renew its lease (for `seconds`, if given), or end it when it is over."""
        now = connection.execute(select(db_now())).scalar_one()
        lease = now + timedelta(seconds=LEASE_SECONDS if seconds is None else seconds)
        kept = replace(turn, lease_until=None if is_over else lease)
        self._write(connection, kept, now)
        return kept

    def next_after(self, now: datetime) -> datetime:
        """Return the next time of day at which the job begins."""
        tonight = now.replace(hour=self.at.hour, minute=self.at.minute, second=0, microsecond=0)
        return tonight if tonight > now else tonight + timedelta(days=1)

    def _readable(self, kept: dict[str, Any], now: datetime) -> T | None:
        # An unreadable row, or a time too far in the future, skips one night and breaks no worker.
        try:
            turn = self.kind.read(kept)
            latest_lease = now + timedelta(seconds=LEASE_SECONDS)
            is_held = turn.lease_until is not None and turn.lease_until > latest_lease
            return None if is_held or turn.next_at > self.next_after(now) else turn
        except (ValueError, KeyError, TypeError):
            return None

    def _write(self, connection: Connection, turn: T, now: datetime) -> None:
        write_state(connection, self.key, turn.as_json(), now)


class NightlyThread(Generic[T]):
    """Runs the job in a thread of its own when it is due and no other worker has it."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        claim: Callable[[Connection], T | None],
        run: Callable[[T], object],
    ) -> None:
        self._name = name
        self._engine = engine
        self._claim = claim
        self._run = run
        self._look_at = 0.0
        self._thread: threading.Thread | None = None

    def start_when_due(self) -> bool:
        """Start the job if it is due, looking once a minute; returns whether it was started."""
        is_at_work = self._thread is not None and self._thread.is_alive()
        if is_at_work or monotonic() < self._look_at:
            return False
        self._look_at = monotonic() + LOOK_SECONDS
        with self._engine.begin() as connection:
            turn = self._claim(connection)
        if turn is None:
            return False
        # A daemon: the process must be able to end during a job.
        work = threading.Thread(target=self._run, args=(turn,), name=self._name, daemon=True)
        self._thread = work
        work.start()
        return True

    def join(self, seconds: float) -> bool:
        """Wait for a job that was started here; returns whether it is over."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()
