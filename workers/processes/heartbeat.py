"""What a worker tells of itself in SQL, since the web process cannot look into it."""

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
# Dynos get a new name daily: who has been silent for so long is not coming back.
FORGET_SECONDS = 86_400.0


class Heartbeat:
    """Tells twice a minute that this worker lives, and what is left of the rate limits."""

    def __init__(self, tools: WorkerContext) -> None:
        self._tools = tools
        # The dyno's parent: its children are started afresh, and would count as new workers.
        self._name = f"{WORKER}{socket.gethostname()}:{os.getppid()}"
        self._next_at = 0.0

    def beat_when_due(self) -> None:
        """Beat, unless it did a short while ago."""
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + EVERY_SECONDS
            with self._tools.engine.begin() as connection:
                self.beat(connection)

    def beat(self, connection: Connection) -> None:
        """Write the two facts, and forget workers of yesterday."""
        write_state(connection, self._name, {"memory_mb": round(peak_memory_mb(), 1)})
        buckets = self._tools.buckets
        left = {
            bucket.name: {"left": round(calls, 1), "per_minute": bucket.per_minute}
            for bucket in (buckets.bot_get, buckets.authenticate)
            if (calls := self._tools.limits.left(bucket)) is not None
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
