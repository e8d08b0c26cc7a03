"""The registry of lists, from which API, command line and console are built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.queries.audit_log import AuditFilter, audits
from models.queries.calendars.calendar_users import (
    CalendarUserFilter,
    CalendarUserRow,
    calendar_users,
)
from models.queries.calendars.findings import FindingFilter, FindingRow, findings
from models.queries.calendars.missed import MissedFilter, MissedRow, missed
from models.queries.events.event_list import EventFilter, events
from models.queries.failures.failures import FailureFilter, FailureRow, failures
from models.queries.filters import (
    BotFilter,
    DeliveryFilter,
    Filter,
    LinkFilter,
    RecordingFilter,
    RejectionFilter,
)
from models.queries.lists import bots, deliveries, links, recordings, rejections
from models.queries.pagination import Listing
from models.queries.reconcile import ReconcileFilter, ReconcileRow, reconciles
from models.queries.rows import (
    AuditRow,
    BotRow,
    DeliveryRow,
    EventRow,
    LinkRow,
    RecordingRow,
    RejectionRow,
)


@dataclass(frozen=True, slots=True)
class ListKind:
    """One list: its name, filter, row type, and the function that makes its query."""

    name: str
    summary: str
    wanted: type[Filter]
    row: type
    listing: Callable[[Any, str], Listing[Any]]
    # The words of its command, where they are not its name; with a space, of a group's command.
    command: str = ""

    @property
    def words(self) -> list[str]:
        """The words that call its command."""
        return (self.command or self.name).split()


LINKS = ListKind(
    "links", "Links between bots and calendar meetings, newest first", LinkFilter, LinkRow, links
)
BOTS = ListKind(
    "bots",
    "Bots, newest first",
    BotFilter,
    BotRow,
    lambda wanted, _dialect: bots(wanted),
)
DELIVERIES = ListKind(
    "deliveries",
    "Received webhooks, newest first",
    DeliveryFilter,
    DeliveryRow,
    lambda wanted, _dialect: deliveries(wanted),
)
RECORDINGS = ListKind(
    "recordings",
    "Recordings of bots, newest first",
    RecordingFilter,
    RecordingRow,
    lambda wanted, _dialect: recordings(wanted),
)
REJECTIONS = ListKind(
    "rejections",
    "Requests that failed signature verification, newest first",
    RejectionFilter,
    RejectionRow,
    lambda wanted, _dialect: rejections(wanted),
)
AUDIT = ListKind(
    "audit",
    "Changes made by people, newest first",
    AuditFilter,
    AuditRow,
    lambda wanted, _dialect: audits(wanted),
)
CALENDAR_USERS = ListKind(
    "calendar-users",
    "Calendar users, as Recall's list last had them",
    CalendarUserFilter,
    CalendarUserRow,
    lambda wanted, _dialect: calendar_users(wanted),
    "calendar users",
)
FINDINGS = ListKind(
    "findings",
    "Problems that the checks of calendars found, latest first",
    FindingFilter,
    FindingRow,
    lambda wanted, _dialect: findings(wanted),
    "calendar findings",
)
EVENTS = ListKind(
    "events",
    "Events, newest first; with after, the earliest first",
    EventFilter,
    EventRow,
    lambda wanted, _dialect: events(wanted),
)
MISSED = ListKind(
    "missed",
    "Meetings that were to be recorded and were not, latest first",
    MissedFilter,
    MissedRow,
    lambda wanted, _dialect: missed(wanted),
)
FAILURES = ListKind(
    "failures",
    "Failing bots by the reason of their last error, most frequent first",
    FailureFilter,
    FailureRow,
    failures,
)
RECONCILES = ListKind(
    "reconciles",
    "Comparisons with Recall's list of bots, and what each found, latest first",
    ReconcileFilter,
    ReconcileRow,
    lambda wanted, _dialect: reconciles(wanted),
)
LISTS = (
    LINKS,
    BOTS,
    FAILURES,
    RECORDINGS,
    DELIVERIES,
    REJECTIONS,
    MISSED,
    CALENDAR_USERS,
    FINDINGS,
    RECONCILES,
    EVENTS,
    AUDIT,
)
