"""Recall's answers as typed values: strict about what we need, lenient about the rest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from models.core.bot_status import Status
from models.core.sanitize import is_clamped, plain_uuid, storable, utc_time
from models.tables.base import longest
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from workers.recall_api import parsing
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.recording_schemas import RecordingBody, read_recordings
from workers.recall_api.statuses import read_statuses

EXTERNAL_ID_LIMIT = longest(Link.external_id)
LONGEST_TOKEN = 4096
ICAL_UID_LIMIT = longest(CalendarMeeting.ical_uid)
_DETAILS = (
    "platform",
    "platform_id",
    "zoom_invite",
    "teams_invite",
    "meet_invite",
    "webex_invite",
    "goto_meeting_invite",
    "bot_id",
    "override_should_record",
    "visibility",
)

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MeetingRef:
    """One item of a bot's `calendar_meetings`; `external_id` is exactly as Recall spelt it."""

    meeting_id: str
    start_time: datetime
    end_time: datetime
    calendar_user_id: str | None
    external_id: str | None
    # Times that `utc_time` clamped, as Recall wrote them.
    clamped: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class BotBody:
    """The fields of a bot that we use (https://docs.recall.ai/reference/bot_retrieve)."""

    meetings: tuple[MeetingRef, ...]
    unusable: int
    meeting_url: dict[str, Any] | None
    meeting_platform: str | None
    bot_name: str | None
    metadata: dict[str, Any] | None
    recordings: tuple[RecordingBody, ...] = ()
    statuses: tuple[Status, ...] = ()


@dataclass(frozen=True, slots=True)
class MeetingBody:
    """The fields of a calendar meeting that we use (https://docs.recall.ai/reference/calendar_meetings_retrieve)."""

    start_time: datetime | None
    end_time: datetime | None
    title: str | None
    ical_uid: str | None
    organizer_email: str | None
    calendar_platform: str | None
    meeting_platform: str | None
    is_recurring: bool | None
    is_external: bool | None
    is_hosted_by_me: bool | None
    will_record: bool | None
    will_record_reason: str | None
    attendees: tuple[dict[str, Any], ...]
    people: frozenset[str]
    details: dict[str, Any]


def read_object(raw: bytes, endpoint: Endpoint) -> Body:
    """Parse a JSON object; RecallError (unreadable) for anything else."""
    value = read_json(raw, endpoint)
    if not isinstance(value, dict):
        raise unreadable(endpoint, "not a JSON object")
    return value


def read_json(raw: bytes, endpoint: Endpoint) -> object:
    """Parse JSON; RecallError (unreadable) for anything else."""
    try:
        # Decoded first, since json.loads accepts UTF-16; and NaN is not JSON.
        value: object = json.loads(raw.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise unreadable(endpoint, "not JSON") from None
    return value


def unreadable(endpoint: Endpoint, detail: str) -> RecallError:
    """Return the error of a 200 whose body cannot be used."""
    return RecallError(Fault.UNREADABLE, endpoint, status=200, detail=detail)


def listed(body: Body, key: str, endpoint: Endpoint) -> list[Any] | None:
    """Read a list within a body, None for another shape.

    RecallError (unreadable) for a page that says there are more.
    """
    value = body.get(key)
    if isinstance(value, dict) and isinstance(value.get("results"), list):
        # A nested list has no endpoint to request its next page from.
        if value.get("next"):
            raise unreadable(endpoint, f"{key} came in part")
        value = value["results"]
    return value if isinstance(value, list) else None


def read_bot(body: Body, bot_id: str) -> BotBody:
    """Read a bot's body; RecallError for another bot's, or without a usable list of meetings."""
    if plain_uuid(body.get("id")) != bot_id:
        raise RecallError(Fault.WRONG_BODY, Endpoint.BOT, status=200, detail="another bot's body")
    items = listed(body, "calendar_meetings", Endpoint.BOT)
    # An ad hoc bot has null or no list; any other shape is an error that may pass.
    if items is None and body.get("calendar_meetings") is not None:
        raise unreadable(Endpoint.BOT, "calendar_meetings is not a list")
    # Of two items with one id the last one counts.
    refs = [_read_ref(item) for item in items or ()]
    meetings = {ref.meeting_id: ref for ref in refs if ref}
    url = body.get("meeting_url")
    return BotBody(
        meetings=tuple(meetings.values()),
        unusable=refs.count(None),
        meeting_url=parsing.json_object(url),
        meeting_platform=parsing.text(url.get("platform")) if isinstance(url, dict) else None,
        bot_name=parsing.text(body.get("bot_name")),
        metadata=parsing.metadata(body.get("metadata")),
        recordings=tuple(read_recordings(body)),
        statuses=read_statuses(body.get("status_changes"), datetime.now(UTC)),
    )


def read_token(body: Body) -> str:
    """Read a calendar token; RecallError if it cannot be sent as a header."""
    token = body.get("token")
    fits = isinstance(token, str) and 0 < len(token) <= LONGEST_TOKEN
    if not isinstance(token, str) or not fits or not all("!" <= c <= "~" for c in token):
        raise unreadable(Endpoint.AUTHENTICATE, "no usable token")
    return token


def read_meeting(body: Body, meeting_id: str) -> MeetingBody:
    """Read a meeting's body; RecallError for another meeting's."""
    if plain_uuid(body.get("id")) != meeting_id:
        raise RecallError(
            Fault.WRONG_BODY, Endpoint.MEETING, status=200, detail="another meeting's body"
        )
    # An attendee may be in only one of the two lists, and guests may be hidden from this user.
    listed_attendees = parsing.objects(listed(body, "attendees", Endpoint.MEETING))
    attendees = tuple(_attendee(item) for item in listed_attendees)
    organizer = parsing.email(body.get("organizer_email"))
    people = {parsing.email(item.get("email")) for item in attendees} | {organizer}
    emails = listed(body, "attendee_emails", Endpoint.MEETING) or ()
    people |= {parsing.email(item) for item in emails}
    return MeetingBody(
        start_time=utc_time(body.get("start_time")),
        end_time=utc_time(body.get("end_time")),
        title=parsing.text(body.get("title")),
        ical_uid=parsing.text(body.get("ical_uid"), ICAL_UID_LIMIT),
        organizer_email=organizer,
        calendar_platform=parsing.text(body.get("calendar_platform")),
        meeting_platform=parsing.text(body.get("meeting_platform")),
        is_recurring=parsing.flag(body.get("is_recurring")),
        is_external=parsing.flag(body.get("is_external")),
        is_hosted_by_me=parsing.flag(body.get("is_hosted_by_me")),
        will_record=parsing.flag(body.get("will_record")),
        will_record_reason=parsing.text(body.get("will_record_reason")),
        attendees=attendees,
        people=frozenset(email for email in people if email),
        details=marked(
            parsing.json_object({key: body[key] for key in _DETAILS if key in body}), _clamped(body)
        ),
    )


def marked(details: Mapping[str, Any] | None, clamped: Mapping[str, str]) -> dict[str, Any]:
    """Return a meeting's details with its clamped times as Recall wrote them, under `clamped`."""
    details = dict(details or {})
    if clamped:
        details["clamped"] = {**clamped, **details.get("clamped", {})}
    return details


def is_usable_external_id(external_id: str) -> bool:
    """Whether a token may be requested for this id: an altered id would create another user."""
    return bool(external_id.strip()) and storable(external_id, EXTERNAL_ID_LIMIT) == external_id


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _read_ref(item: object) -> MeetingRef | None:
    if not isinstance(item, dict):
        return None
    meeting_id = plain_uuid(item.get("id"))
    start, end = utc_time(item.get("start_time")), utc_time(item.get("end_time"))
    if not meeting_id or not start or not end:
        return None
    user = item.get("calendar_user")
    user = user if isinstance(user, dict) else {}
    external_id = user.get("external_id")
    return MeetingRef(
        meeting_id=meeting_id,
        start_time=start,
        end_time=end,
        calendar_user_id=plain_uuid(user.get("id")),
        # A number is not converted: a token for its text would create a second user.
        external_id=external_id if isinstance(external_id, str) else None,
        clamped=_clamped(item),
    )


def _clamped(item: Body) -> dict[str, str]:
    times = {name: item.get(name) for name in ("start_time", "end_time")}
    return {name: storable(str(text), 64) for name, text in times.items() if is_clamped(text)}


def _attendee(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": parsing.text(item.get("name")),
        "email": parsing.text(item.get("email")),
        "is_organizer": parsing.flag(item.get("is_organizer")),
        "status": parsing.text(item.get("status")),
    }
