"""What more than one dyno shares about the workspace: circuit, quota, closed buckets."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base

CIRCUIT = "circuit"
# Before the name of a bucket, and of a worker.
CLOSED, WORKER = "closed:", "worker:"
QUOTA = "quota"
BODIES_EMPTIED = "bodies_emptied"
CALENDAR_SWEEP = "calendar_sweep"
NIGHTLY_RECONCILE = "nightly_reconcile"
# The last position that the feed of events has given.
EVENTS_NUMBERED = "events_numbered"
# Before the name of an endpoint that events are not sent to.
ENDPOINT_OFF, ENDPOINT_FAILING = "endpoint_off:", "endpoint_failing:"
# Which alarms have been reported, and the lease on checking them.
ALERTS = "alerts"


class WorkspaceState(Base):
    """One shared fact by its name; the last writer wins."""

    __tablename__ = "workspace_state"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]
    # By the database's clock: it is compared on other dynos.
    updated_at: Mapped[datetime]
