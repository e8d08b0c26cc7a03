"""What can be asked of each list: one model a list, for the API, the CLI and the pages alike."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from models.outside import plain_uuid

MOST_ROWS = 500
ROWS = 100


def _uuid(value: str) -> str:
    if (found := plain_uuid(value)) is None:
        raise ValueError("must be a UUID of 36 characters")
    return found


def _utc(value: datetime) -> datetime:
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


def _not_a_number(value: object) -> object:
    # pydantic would read 5 as a moment in 1970.
    if not isinstance(value, str) or value.replace(".", "").lstrip("-").isdigit():
        raise ValueError("must be an ISO 8601 time, such as 2026-11-20T09:00:00Z")
    return value


Uuid = Annotated[str, AfterValidator(_uuid), Field(json_schema_extra={"format": "uuid"})]
# PostgreSQL refuses U+0000 as a parameter, too: what would be a 503 is a 400 that names its cause.
_NO_NUL = r"^[^\x00]*$"
Words = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_NO_NUL),
]
Email = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=3, pattern=_NO_NUL)
]
Time = Annotated[datetime, BeforeValidator(_not_a_number), AfterValidator(_utc)]
# Spelt out, because OpenAPI, the options' help and the pages all list the choices from here.
LinkStateName = Literal["pending", "linked", "no_meetings", "partial", "failed"]
OutcomeName = Literal["accepted", "ignored", "malformed"]
Limit = Annotated[int, Field(ge=1, le=MOST_ROWS)]


class Filter(BaseModel):
    """A filter: whatever is given must hold; an unknown name is refused."""

    # A misspelt filter that is passed over would show, or put back, everything.
    model_config = ConfigDict(frozen=True, extra="forbid")


class LinkFilter(Filter):
    """Which links: by bot, meeting, person, words of the title, state, platform or time."""

    bot_id: Uuid | None = Field(None, description="the bot's id")
    meeting_id: Uuid | None = Field(None, description="the calendar meeting's id")
    external_id: Words | None = Field(None, description="the calendar user, as you named them")
    email: Email | None = Field(None, description="organiser or attendee, in any case")
    title: Words | None = Field(None, description="words of the title, all of them, in any case")
    ical_uid: Words | None = Field(None, description="the calendar event's iCal UID")
    status: Words | None = Field(None, description="bot_status, such as done or fatal")
    link_state: LinkStateName | None = Field(None, description="how the bot's link stands")
    platform: Words | None = Field(None, description="meeting_platform, such as zoom")
    since: Time | None = Field(None, description="meeting_start at or after")
    until: Time | None = Field(None, description="meeting_start before")
    current: bool = Field(default=False, description="only links that have not ended")


class BotFilter(Filter):
    """Which bots: by how their link stands, or by their status."""

    link_state: LinkStateName | Literal["unlinked"] | None = Field(
        None, description="how the link stands; unlinked is every state but linked"
    )
    status: Words | None = Field(None, description="bot_status, such as done or fatal")
    since: Time | None = Field(None, description="first_seen_at at or after")
    until: Time | None = Field(None, description="first_seen_at before")


class DeliveryFilter(Filter):
    """Which deliveries: by bot, outcome or time."""

    bot_id: Uuid | None = Field(None, description="the bot's id")
    outcome: OutcomeName | None = Field(None, description="accepted, ignored or malformed")
    since: Time | None = Field(None, description="received_at at or after")
    until: Time | None = Field(None, description="received_at before")


class RejectionFilter(Filter):
    """Which refused requests."""

    unresolved: bool = Field(
        default=False, description="only those a re-check has not accepted since"
    )
