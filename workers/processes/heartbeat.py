"""The heartbeat: what the web process can know of a worker, written to the database."""

import os
import resource
import socket
import sys
import time

from sqlalchemy import Connection, delete

from models.tables.base import db_now
from models.tables.workspace_state import QUOTA, WORKER, WorkspaceState
from workers.db.workspace_state import write_state
from workers.linking.context import WorkerContext

EVERY_SECONDS = 30.0
# Dynos get a new name daily, so a worker that was silent for so long will not return.
FORGET_SECONDS = 86_400.0


class Heartbeat:
    """Writes twice a minute that this worker lives, and what is left of the rate limits."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        # The supervisor's id: its children are restarted, and would count as new workers.
        self._name = f"{WORKER}{socket.gethostname()}:{os.getppid()}"
        self._next_at = 0.0

    def beat_when_due(self) -> None:
        """Beat, unless the last beat is recent."""
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + EVERY_SECONDS
            with self._context.engine.begin() as connection:
                self.beat(connection)

    def beat(self, connection: Connection) -> None:
        """Write the heartbeat and the quota, and delete old workers."""
        write_state(connection, self._name, {"memory_mb": round(peak_memory_mb(), 1)})
        buckets = self._context.buckets
        left = {
            bucket.name: {"left": round(calls, 1), "per_minute": bucket.per_minute}
            for bucket in (buckets.bot_get, buckets.authenticate)
            if (calls := self._context.limits.left(bucket)) is not None
        }
        write_state(connection, QUOTA, left)
        old = WorkspaceState.key.startswith(WORKER)
        old &= WorkspaceState.updated_at < db_now(-FORGET_SECONDS)
        connection.execute(delete(WorkspaceState).where(old))


def peak_memory_mb() -> float:
    """Return the most memory this process has used, in MB."""
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
