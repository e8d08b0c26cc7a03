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

from models.outside import plain_uuid, storable, utc_time

MOST_ROWS = 500
ROWS = 100


def _uuid(value: str) -> str:
    if (found := plain_uuid(value)) is None:
        raise ValueError("must be a UUID of 36 characters")
    return found


def _storable(value: str) -> str:
    # No column holds these: PostgreSQL would refuse the question, and the answer is known.
    if storable(value, len(value)) != value:
        raise ValueError("must not hold NUL or half of a surrogate pair")
    return value


def _time(value: object) -> datetime:
    # Not pydantic's own reading: to it, 5 is a moment in 1970.
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC)
    if (found := utc_time(value)) is None:
        raise ValueError("must be an ISO 8601 time, such as 2026-11-20T09:00:00Z")
    return found


Uuid = Annotated[str, AfterValidator(_uuid), Field(json_schema_extra={"format": "uuid"})]
Words = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_storable),
]
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, to_lower=True, min_length=3, max_length=320),
    AfterValidator(_storable),
]
Time = Annotated[datetime, BeforeValidator(_time)]
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
