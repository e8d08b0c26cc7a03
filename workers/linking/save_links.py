"""Saves what belongs to a bot: calendar users, meetings, people, links."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, cast

from sqlalchemy import Connection, Delete, Table, Update, bindparam, case, delete, null, update

from models.core.meeting_key import meeting_key
from models.core.sanitize import storable
from models.core.title_words import TITLE_COLUMNS
from models.tables.base import UtcDateTime, db_now
from models.tables.calendar import CalendarMeeting, CalendarUser, MeetingPerson
from models.tables.link import Link
from workers.db.upsert import Insert, insert_for, upsert
from workers.linking.outcome import LinkOutcome
from workers.linking.types import MeetingResult
from workers.privacy.tombstones import USER_ERASED
from workers.recall_api.schemas import EXTERNAL_ID_LIMIT, MeetingBody, MeetingRef, marked

_MEETINGS = cast("Table", CalendarMeeting.__table__)
_USERS = cast("Table", CalendarUser.__table__)
_PEOPLE = cast("Table", MeetingPerson.__table__)
_LINKS = cast("Table", Link.__table__)
_FROM_BODY = (
    "title",
    "ical_uid",
    "organizer_email",
    "calendar_platform",
    "meeting_platform",
    "is_recurring",
    "is_external",
    "is_hosted_by_me",
    "will_record",
    "will_record_reason",
    "details",
)

Row = dict[str, Any]
# Erased and deleted users, each with the name to store for them.
Erased = Mapping[str, str]
NOBODY: Erased = MappingProxyType({})


def write_meetings(
    connection: Connection, meetings: Sequence[MeetingResult], erased: Erased = NOBODY
) -> None:
    """Write each meeting's state; details that were found once are never emptied.

    Of `erased` users only the pseudonym is written, and no details.
    """
    meetings = [_without_details(m) if m.ref.external_id in erased else m for m in meetings]
    _write_users(connection, [meeting.ref for meeting in meetings], erased)
    found = {m.ref.meeting_id: (m, m.body) for m in meetings if m.body is not None}
    others = [m for m in meetings if m.body is None]
    columns = ("calendar_user_id", "start_time", "end_time", "state", "reason")
    # By id: if two bots of a batch share a meeting, it is written once, from the later answer.
    rows = [_found_row(meeting, body) for meeting, body in found.values()]
    of_body = (*_FROM_BODY, *TITLE_COLUMNS, "meeting_key", "attendees")
    upsert(connection, _MEETINGS, rows, update=(*columns, *of_body, "fetched_at"))
    _drop_moved_keys(connection, others)
    # Without the columns of details: those that were found once stay.
    answered = [_meeting_row(m) for m in others if m.state != "owed"]
    upsert(connection, _MEETINGS, answered, update=(*columns, "fetched_at"))
    owed = [_meeting_row(m) for m in others if m.state == "owed"]
    upsert(connection, _MEETINGS, owed, update=columns)
    _write_people(connection, {key: body.people for key, (_, body) in found.items()})


def _without_details(meeting: MeetingResult) -> MeetingResult:
    # The meeting may have been fetched just before the user was erased.
    at = meeting.fetched_at
    return MeetingResult(meeting.ref, "unfetchable", USER_ERASED, fetched_at=at)


def _meeting_row(meeting: MeetingResult) -> Row:
    return {
        "id": meeting.ref.meeting_id,
        "calendar_user_id": meeting.ref.calendar_user_id,
        "start_time": meeting.ref.start_time,
        "end_time": meeting.ref.end_time,
        "state": meeting.state,
        "reason": meeting.reason,
        "fetched_at": meeting.fetched_at,
        # Only a new row gets these; details that were found once stay.
        "details": marked(None, meeting.ref.clamped) or None,
    }


def _drop_moved_keys(connection: Connection, meetings: Iterable[MeetingResult]) -> None:
    # A key contains the start. A worker makes the new one from the UID, see meeting_keys.py.
    moved = [{"moved": m.ref.meeting_id, "to": m.ref.start_time} for m in meetings]
    if moved:
        connection.execute(_drop_moved_key(), sorted(moved, key=lambda row: str(row["moved"])))


@cache
def _drop_moved_key() -> Update:
    columns = _MEETINGS.c
    has_moved = columns.start_time != bindparam("to", type_=UtcDateTime())
    theirs = update(_MEETINGS).where(columns.id == bindparam("moved"), has_moved)
    return theirs.where(columns.meeting_key.is_not(None)).values(meeting_key=null())


def _found_row(meeting: MeetingResult, body: MeetingBody) -> Row:
    # After a reschedule the meeting's own time is newer than the copy in the bot's body.
    start = body.start_time or meeting.ref.start_time
    return {
        **_meeting_row(meeting),
        "start_time": start,
        "end_time": body.end_time or meeting.ref.end_time,
        "attendees": list(body.attendees),
        **{name: getattr(body, name) for name in _FROM_BODY},
        "details": marked(body.details, meeting.ref.clamped),
        "meeting_key": meeting_key(body.ical_uid, start, body.details),
    }


def _write_users(connection: Connection, refs: Iterable[MeetingRef], erased: Erased) -> None:
    users = {
        ref.calendar_user_id: {
            "id": ref.calendar_user_id,
            "external_id": _shown_external_id(ref.external_id, erased),
        }
        for ref in refs
        # Recall may leave the user out; the link is written without one.
        if ref.calendar_user_id
    }
    upsert(connection, _USERS, list(users.values()), update=("external_id",))


def _shown_external_id(external_id: str | None, erased: Erased) -> str | None:
    if external_id is None:
        return None
    return storable(erased.get(external_id, external_id), EXTERNAL_ID_LIMIT)


def _write_people(connection: Connection, people: Mapping[str, frozenset[str]]) -> None:
    if not people:
        return
    # Replaced as a whole, or the meeting would still be found by an attendee who was removed.
    connection.execute(_delete_people(), {"keys": sorted(people)})
    rows = [{"meeting_id": key, "email": e} for key, emails in people.items() for e in emails]
    upsert(connection, _PEOPLE, rows)


@cache
def _delete_people() -> Delete:
    is_among = MeetingPerson.meeting_id.in_(bindparam("keys", expanding=True))
    return delete(MeetingPerson).where(is_among)


def write_links(
    connection: Connection, outcomes: Sequence[LinkOutcome], erased: Erased = NOBODY
) -> None:
    """Open, reopen and end links according to the bots' bodies; no row is deleted."""
    seen = [
        (outcome.result.claim.bot_id, ref)
        for outcome in outcomes
        # A retry that did not fetch the bot has no new list of meetings.
        if outcome.result.bot is not None
        for ref in outcome.open_refs
    ]
    others = [_link_row(bot, ref, erased) for bot, ref in seen if ref.external_id not in erased]
    _upsert_links(connection, others, is_erased=False)
    theirs = [_link_row(bot, ref, erased) for bot, ref in seen if ref.external_id in erased]
    _upsert_links(connection, theirs, is_erased=True)
    for outcome in outcomes:
        if outcome.left:
            connection.execute(_end_links(outcome))


def _upsert_links(connection: Connection, rows: Sequence[Row], *, is_erased: bool) -> None:
    if not rows:
        return
    statement = _links_upsert(connection.dialect.name, is_erased=is_erased)
    connection.execute(statement, sorted(rows, key=lambda r: (r["bot_id"], r["meeting_id"])))


@cache
def _links_upsert(dialect: str, *, is_erased: bool) -> Insert:
    # A meeting that came back reopens its link, and `linked_at` stays. The link of an erased user
    # keeps its reason, whether the meeting comes back or not.
    opened: Row = {"ended_at": null(), "end_reason": null()}
    how = {"end_reason": USER_ERASED} if is_erased else opened
    statement = insert_for(dialect, _LINKS)
    seen = ("calendar_user_id", "external_id", "seen_start", "seen_end")
    changed: Row = {name: statement.excluded[name] for name in seen}
    changed |= {"last_seen_at": db_now(), **how}
    statement = statement.values(linked_at=db_now(), last_seen_at=db_now(), **how)
    keys = ["bot_id", "meeting_id"]
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def _link_row(bot_id: str, ref: MeetingRef, erased: Erased) -> Row:
    return {
        "bot_id": bot_id,
        "meeting_id": ref.meeting_id,
        "calendar_user_id": ref.calendar_user_id,
        "external_id": _shown_external_id(ref.external_id, erased),
        "seen_start": ref.start_time,
        "seen_end": ref.end_time,
    }


def _end_links(outcome: LinkOutcome) -> Update:
    claim = outcome.result.claim
    left = update(Link).where(Link.bot_id == claim.bot_id, Link.meeting_id.in_(outcome.left))
    # The link of a recorded meeting stays: reconnecting a calendar empties Recall's list.
    ended_at = Link.ended_at if claim.is_sealed else db_now()
    is_erased = Link.end_reason == USER_ERASED
    reason = case((is_erased, Link.end_reason), else_="left_calendar_meetings")
    return left.values(ended_at=ended_at, end_reason=reason)
