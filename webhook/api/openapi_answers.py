"""Answers that only the API gives, as its description has them."""

from dataclasses import dataclass

from models.queries.alarms.alerts import Alarm
from models.queries.service_status import Overview


@dataclass(frozen=True, slots=True)
class Problem:
    """An error (RFC 9457); `parameter` names an invalid parameter."""

    title: str
    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class Status(Overview):
    """The state of the service and its active alarms."""

    alarms: list[Alarm]


@dataclass(frozen=True, slots=True)
class RelinkOneRequest:
    """One bot was queued for retry."""

    bot_id: str
    relinked: int


@dataclass(frozen=True, slots=True)
class ResentOne:
    """One event is sent again."""

    event_id: str
    resent: int
