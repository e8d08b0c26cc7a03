"""The filters of each list, shared by API, command line and console."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from sqlalchemy.orm import QueryableAttribute

from models.core.sanitize import email_address, plain_uuid, storable, uuid_range
from models.queries.metadata_filter import WORDS, Metadata, collect
from models.queries.times import TIME_PATTERN, read_time
from models.tables.audit import Audit
from models.tables.base import longest
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting, MeetingPerson
from models.tables.delivery import Delivery
from models.tables.event import EventDelivery
from models.tables.link import Link

MOST_ROWS = 500
ROWS = 100


def _uuid(value: str) -> str:
    if (found := plain_uuid(value)) is None:
        raise ValueError("must be a UUID of 36 characters")
    return found


def _bot_id(value: str) -> str:
    # Narrow tables show only the first characters of a bot's id.
    if uuid_range(value) is None:
        raise ValueError("must be a UUID, or its first 8 characters or more")
    return value.lower()


def _storable(value: str) -> str:
    # No column can contain these, and PostgreSQL would reject the query.
    if storable(value, len(value)) != value:
        raise ValueError("must not contain NUL or an unpaired surrogate")
    return value


def _email(value: str) -> str:
    if not (found := email_address(value)):
        raise ValueError("must not be blank")
    return found


def column_text(column: QueryableAttribute[Any]) -> StringConstraints:
    """Return constraints for a text that fits into a column; spaces are significant."""
    return StringConstraints(min_length=1, max_length=longest(column))


def _time(value: object) -> datetime:
    return read_time(value, datetime.now(UTC))


Uuid = Annotated[str, AfterValidator(_uuid), Field(json_schema_extra={"format": "uuid"})]
# The same rule as a pattern, for OpenAPI.
_HEX = "[0-9a-fA-F]"
BOT_ID_PATTERN = (
    f"^{_HEX}{{8}}(-({_HEX}{{0,4}}|{_HEX}{{4}}(-({_HEX}{{0,4}}|{_HEX}{{4}}"
    f"(-({_HEX}{{0,4}}|{_HEX}{{4}}(-{_HEX}{{0,12}})?))?))?))?$"
)
BotId = Annotated[
    str, AfterValidator(_bot_id), Field(json_schema_extra={"pattern": BOT_ID_PATTERN})
]
Words = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=longest(CalendarMeeting.title)
    ),
    AfterValidator(_storable),
]
Email = Annotated[
    str, column_text(MeetingPerson.email), AfterValidator(_storable), AfterValidator(_email)
]
ExternalId = Annotated[str, column_text(Link.external_id), AfterValidator(_storable)]
IcalUid = Annotated[str, column_text(CalendarMeeting.ical_uid), AfterValidator(_storable)]
MeetingKey = Annotated[str, column_text(CalendarMeeting.meeting_key), AfterValidator(_storable)]
StatusCode = Annotated[str, column_text(Bot.status), AfterValidator(_storable)]
SubCode = Annotated[str, column_text(Bot.ended_sub_code), AfterValidator(_storable)]
Platform = Annotated[str, column_text(CalendarMeeting.meeting_platform), AfterValidator(_storable)]
MessageId = Annotated[str, column_text(Delivery.id), AfterValidator(_storable)]
Actor = Annotated[str, column_text(Audit.actor), AfterValidator(_storable)]
Action = Annotated[str, column_text(Audit.action), AfterValidator(_storable)]
Subject = Annotated[str, column_text(Audit.subject), AfterValidator(_storable)]
EventId = Annotated[str, StringConstraints(pattern=r"^evt_[0-9a-f]{30}$")]
EndpointName = Annotated[str, column_text(EventDelivery.endpoint), AfterValidator(_storable)]
# What PostgreSQL's bigint and SQLite's integer hold.
FeedPosition = Annotated[int, Field(ge=0, lt=2**63)]
# What a last error begins with, before its colon.
ERROR_PATTERN = "^[a-z0-9_]{1,64}$"
ErrorReason = Annotated[str, StringConstraints(pattern=ERROR_PATTERN)]
Time = Annotated[
    datetime,
    BeforeValidator(_time),
    # Not the format date-time, to which the relative times do not keep.
    WithJsonSchema(
        {
            "type": "string",
            "pattern": TIME_PATTERN,
            "examples": ["2026-11-20T09:00:00Z", "-1h", "yesterday"],
        }
    ),
]
# Literals, from which OpenAPI, the command line and the console list the choices.
LinkStateName = Literal["pending", "linked", "no_meetings", "partial", "failed"]
OutcomeName = Literal["accepted", "ignored", "malformed"]
RECORDED_WORDS = "true: the bot recorded; false: its call ended and it recorded nothing"
SUB_CODE_WORDS = "ended_sub_code, such as timeout_exceeded_waiting_room"
BOT_ID_WORDS = "the bot's id, or its first 8 characters or more"
Limit = Annotated[int, Field(ge=1, le=MOST_ROWS)]


class Filter(BaseModel):
    """Base of the filters: all given values must match; an unknown name is refused."""

    # An ignored misspelt filter would show, or relink, everything.
    model_config = ConfigDict(frozen=True, extra="forbid")


class FilterByMetadata(Filter):
    """Base of the filters that take `metadata.KEY`."""

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, given: Any) -> Any:
        return collect(given)


class LinkFilter(FilterByMetadata):
    """Filters links by bot, meeting, person, title, state, platform and time."""

    bot_id: BotId | None = Field(None, description=BOT_ID_WORDS)
    meeting_id: Uuid | None = Field(None, description="the calendar meeting's id")
    external_id: ExternalId | None = Field(None, description="the calendar user, as you named them")
    email: Email | None = Field(None, description="organiser or attendee, in any case")
    title: Words | None = Field(None, description="words of the title, all required, in any case")
    ical_uid: IcalUid | None = Field(None, description="the calendar event's iCal UID")
    meeting_key: MeetingKey | None = Field(
        None, description="one meeting: every user's copy of it, and every bot"
    )
    status: StatusCode | None = Field(None, description="bot_status, such as done or fatal")
    recorded: bool | None = Field(None, description=RECORDED_WORDS)
    sub_code: SubCode | None = Field(None, description=SUB_CODE_WORDS)
    link_state: LinkStateName | None = Field(None, description="the bot's link state")
    platform: Platform | None = Field(None, description="meeting_platform, such as zoom")
    since: Time | None = Field(None, description="meeting_start at or after")
    until: Time | None = Field(None, description="meeting_start before")
    changed_since: Time | None = Field(None, description="updated_at at or after")
    metadata: Metadata = Field(None, description=WORDS)
    current: bool = Field(default=False, description="only links that have not ended")


class BotFilter(FilterByMetadata):
    """Filters bots by id, link state, status and time."""

    bot_id: BotId | None = Field(None, description=BOT_ID_WORDS)
    link_state: LinkStateName | Literal["failing", "unlinked"] | None = Field(
        None,
        description="the link state; unlinked is every state but linked, failing is failed, partial"
        " and pending for five minutes or longer",
    )
    status: StatusCode | None = Field(None, description="bot_status, such as done or fatal")
    recorded: bool | None = Field(None, description=RECORDED_WORDS)
    sub_code: SubCode | None = Field(None, description=SUB_CODE_WORDS)
    error: ErrorReason | None = Field(
        None, description="the reason that begins last_error, of a bot failed, partial or pending"
    )
    due: bool = Field(default=False, description="only bots whose look-up is due")
    overdue: bool = Field(default=False, description="only bots due for five minutes or longer")
    in_progress: bool = Field(default=False, description="only bots whose look-up is in progress")
    since: Time | None = Field(None, description="first_seen_at at or after")
    until: Time | None = Field(None, description="first_seen_at before")
    metadata: Metadata = Field(None, description=WORDS)


class DeliveryFilter(Filter):
    """Filters deliveries by bot, message, outcome and time."""

    bot_id: BotId | None = Field(None, description=BOT_ID_WORDS)
    message_id: MessageId | None = Field(None, description="the webhook's id")
    outcome: OutcomeName | None = Field(None, description="accepted, ignored or malformed")
    unapplied: bool = Field(
        default=False, description="only accepted webhooks that no worker has processed yet"
    )
    since: Time | None = Field(None, description="received_at at or after")
    until: Time | None = Field(None, description="received_at before")


class RecordingFilter(Filter):
    """Filters recordings by bot, state and time."""

    bot_id: BotId | None = Field(None, description=BOT_ID_WORDS)
    status: StatusCode | None = Field(None, description="recording_status, such as done or failed")
    transcript_status: StatusCode | None = Field(
        None, description="the state of the transcript, such as done or failed"
    )
    expires_since: Time | None = Field(None, description="expires_at at or after")
    expires_until: Time | None = Field(None, description="expires_at before")
    since: Time | None = Field(None, description="seen_at at or after")
    until: Time | None = Field(None, description="seen_at before")


class RejectionFilter(Filter):
    """Filters refused requests by message, time and whether they were accepted later."""

    message_id: MessageId | None = Field(None, description="the webhook's id, as its header says")
    unresolved: bool = Field(default=False, description="only requests not accepted later")
    since: Time | None = Field(None, description="received_at at or after")
    until: Time | None = Field(None, description="received_at before")
