"""All tables in one place: import this to have the whole metadata."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import MetaData

from models.tables.audit import Audit
from models.tables.base import Base
from models.tables.bot import Bot, BotStatus
from models.tables.calendar import (
    CalendarMeeting,
    CalendarToken,
    CalendarUser,
    ErasedUser,
    MeetingPerson,
)
from models.tables.calendar_finding import CalendarFinding
from models.tables.connect_link import ConnectLink
from models.tables.delivery import Delivery
from models.tables.event import Event, EventAttempt, EventDelivery
from models.tables.hourly_count import HourlyCount
from models.tables.link import Link, LinkAttempt
from models.tables.missed_meeting import MissedMeeting
from models.tables.reconcile_run import ReconcileRun
from models.tables.recording import Recording
from models.tables.rejection import Rejection
from models.tables.relink_batch import RelinkBatch, RelinkBatchBot
from models.tables.workspace_state import WorkspaceState

# Named one by one: a module that nobody imports would be missing from the metadata.
TABLES = (
    Audit,
    Bot,
    BotStatus,
    CalendarFinding,
    CalendarMeeting,
    CalendarToken,
    CalendarUser,
    ConnectLink,
    Delivery,
    ErasedUser,
    Event,
    EventAttempt,
    EventDelivery,
    Link,
    LinkAttempt,
    MeetingPerson,
    MissedMeeting,
    ReconcileRun,
    Recording,
    Rejection,
    RelinkBatch,
    RelinkBatchBot,
    HourlyCount,
    WorkspaceState,
)


def belongs_to(dialect: str) -> Callable[..., bool]:
    """Return Alembic's `include_object`: it does not ask an index which database it is for."""

    def is_included(item: Any, *_: object) -> bool:
        return bool(item.info.get("dialect", dialect) == dialect)

    return is_included


def metadata() -> MetaData:
    """Return the metadata with every table in it."""
    return Base.metadata
