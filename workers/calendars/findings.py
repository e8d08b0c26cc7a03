"""Problems in a user's upcoming meetings: no bot, two bots, one person with two users."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import cast

from sqlalchemy import Connection, Table, delete, select, tuple_

from models.tables.base import db_now
from models.tables.calendar import CalendarMeeting
from models.tables.calendar_finding import CalendarFinding, FindingKind
from models.tables.link import Link
from workers.db.upsert import Insert, insert_into
from workers.recall_api.calendar_schemas import CalendarUser, ListedMeeting

_FINDINGS = cast("Table", CalendarFinding.__table__)
_KEY = ("calendar_user_id", "kind", "subject")
_CHANGES = ("starts_at", "ends_at", "title", "bot_ids")

# iCal UID and start: what the copies of one meeting in several calendars have in common.
Same = tuple[str, datetime]


@dataclass(frozen=True, slots=True)
class NewFinding:
    """A problem for an operator; `subject` is the id of a meeting or of another user."""

    kind: FindingKind
    calendar_user_id: str
    subject: str
    starts_at: datetime | None = None
    bot_ids: tuple[str, ...] = ()
    title: str | None = None
    ends_at: datetime | None = None


def find(
    connection: Connection, user_id: str, meetings: Sequence[ListedMeeting]
) -> tuple[NewFinding, ...]:
    """Return the problems of meetings that are not over."""
    now = datetime.now(UTC)
    upcoming = [m for m in meetings if m.body.end_time and m.body.end_time > now]
    linked = _bots_of(connection, upcoming)
    found: list[NewFinding] = []
    for meeting in upcoming:
        bots = {meeting.bot_id} if meeting.bot_id else set()
        bots |= linked.get(meeting.id, set())
        body = meeting.body
        times = (body.start_time, tuple(sorted(bots)), body.title, body.end_time)
        about = (user_id, meeting.id, *times)
        if meeting.body.will_record and not bots:
            found.append(NewFinding("will_record_without_bot", *about))
        if len(bots) > 1:
            found.append(NewFinding("two_bots_on_one_meeting", *about))
    return tuple(found)


def _bots_of(connection: Connection, meetings: Sequence[ListedMeeting]) -> Mapping[str, set[str]]:
    # By iCal UID too: the bot of a shared meeting may be named on another user's copy only.
    same = {_same(meeting): meeting.id for meeting in meetings if _same(meeting)}
    ids = {meeting.id: meeting for meeting in meetings}
    uids = sorted({key[0] for key in same if key})
    columns = (Link.bot_id, Link.meeting_id, CalendarMeeting.ical_uid, CalendarMeeting.start_time)
    opened = select(*columns).join(CalendarMeeting, CalendarMeeting.id == Link.meeting_id)
    opened = opened.where(Link.ended_at.is_(None))
    bots: dict[str, set[str]] = defaultdict(set)
    for row in connection.execute(opened.where(Link.meeting_id.in_(ids))):
        # Before a reschedule the same meeting may have had another bot.
        if row.start_time == ids[row.meeting_id].body.start_time:
            bots[row.meeting_id].add(row.bot_id)
    for row in connection.execute(opened.where(CalendarMeeting.ical_uid.in_(uids))):
        if (meeting_id := same.get((row.ical_uid, row.start_time))) is not None:
            bots[meeting_id].add(row.bot_id)
    return bots


def _same(meeting: ListedMeeting) -> Same | None:
    uid, start = meeting.body.ical_uid, meeting.body.start_time
    return (uid, start) if uid and start else None


def same_person(users: Iterable[CalendarUser]) -> Mapping[str, tuple[str, ...]]:
    """Return, by user, the other users who connected the same calendar address."""
    by_email: dict[str, set[str]] = defaultdict(set)
    for user in users:
        for connection in user.connections:
            if connection.connected and connection.email:
                by_email[connection.email].add(user.id)
    others: dict[str, set[str]] = defaultdict(set)
    for ids in by_email.values():
        for one in ids if len(ids) > 1 else ():
            others[one] |= ids - {one}
    return {one: tuple(sorted(ids)) for one, ids in others.items()}


def end_findings(connection: Connection, connected: Collection[str]) -> None:
    """Delete the findings of, or about, users who have no connected calendar any more."""
    finding = CalendarFinding
    kept = select(finding.calendar_user_id).distinct()
    for user_id in set(connection.scalars(kept)) - set(connected):
        keep_findings(connection, user_id, ())
    duplicates = finding.kind == "one_person_two_external_ids"
    others = select(finding.subject).where(duplicates).distinct()
    for user_id in set(connection.scalars(others)) - set(connected):
        connection.execute(delete(finding).where(duplicates, finding.subject == user_id))


def keep_findings(connection: Connection, user_id: str, found: Sequence[NewFinding]) -> None:
    """Replace the findings of this user's last check; one that still stands keeps its time."""
    theirs = delete(CalendarFinding).where(CalendarFinding.calendar_user_id == user_id)
    kept = tuple_(CalendarFinding.kind, CalendarFinding.subject)
    if found:
        theirs = theirs.where(kept.not_in([(one.kind, one.subject) for one in found]))
    connection.execute(theirs)
    if found:
        rows = [{**asdict(one), "bot_ids": list(one.bot_ids)} for one in found]
        connection.execute(_findings_upsert(connection), rows)


def _findings_upsert(connection: Connection) -> Insert:
    statement = insert_into(connection, _FINDINGS)
    changed = {name: statement.excluded[name] for name in _CHANGES}
    statement = statement.values(found_at=db_now())
    return statement.on_conflict_do_update(index_elements=list(_KEY), set_=changed)
