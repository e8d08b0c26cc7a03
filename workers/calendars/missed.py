"""Judges meetings that are over: which of them were to be recorded and were not."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Row, Select, Table, case, null, select

from models.core.bot_outcome import end_kind
from models.core.meeting_key import meeting_key
from models.core.sanitize import EARLIEST, storable
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.calendar_finding import CalendarFinding
from models.tables.link import Link
from models.tables.missed_meeting import MissedMeeting, MissedReason
from workers.calendars.missed_events import watch_missed
from workers.db.upsert import Insert, insert_into
from workers.recall_api.calendar_schemas import CalendarUser, ListedMeeting
from workers.recall_api.schemas import EXTERNAL_ID_LIMIT
from workers.recordings.missed import resolve

# How far back meetings are judged: every night judges the nights before once more.
JUDGED = timedelta(days=7)
_MISSED = cast("Table", MissedMeeting.__table__)
_BOT = (Bot.id, Bot.status, Bot.status_at, Bot.recorded, Bot.ended_sub_code)
_LINK = (*_BOT, Link.meeting_id, Link.seen_start, Link.seen_end, Link.ended_at)


@dataclass(frozen=True, slots=True)
class NewMissed:
    """One meeting that was missed, and why; `bot_id` is of the bot that recorded nothing."""

    meeting_id: str
    title: str | None
    start_time: datetime
    end_time: datetime
    reason: MissedReason
    sub_code: str | None = None
    bot_id: str | None = None


@dataclass(frozen=True, slots=True)
class _BotFacts:
    id: str
    status: str = ""
    status_at: datetime = EARLIEST
    # None also of a bot that we have not heard of: Recall knows it, so it may have recorded.
    recorded: bool | None = None
    sub_code: str | None = None


@dataclass(slots=True)
class _Past:
    """A meeting that is over, with the bots of all its copies."""

    meeting: ListedMeeting
    start: datetime
    end: datetime
    bots: dict[str, _BotFacts] = field(default_factory=dict)
    was_noted: bool = False

    @property
    def is_wanted(self) -> bool:
        override = self.meeting.body.details.get("override_should_record")
        if isinstance(override, bool):
            return override
        # Recall may take it back once the meeting is over: what was noted before counts as well.
        return self.meeting.body.will_record is True or self.was_noted

    @property
    def was_recorded(self) -> bool:
        return any(bot.recorded for bot in self.bots.values())

    @property
    def is_missed(self) -> bool:
        # A bot whose end is not known yet may still turn out to have recorded.
        return self.is_wanted and all(bot.recorded is False for bot in self.bots.values())

    def serves(self, link: Row[Any]) -> bool:
        # A bot of before a reschedule served another time of the meeting.
        return link.seen_start == self.start or (
            bool(link.seen_start < self.end) and bool(link.seen_end > self.start)
        )


def judge(
    connection: Connection, user: CalendarUser, meetings: Sequence[ListedMeeting]
) -> tuple[NewMissed, ...]:
    """Store which meetings of the last seven days were missed, and return them.

    Those that turn out to be recorded are resolved. What is not among `meetings` is not judged.
    """
    past = {one.meeting.id: one for one in _over(meetings)}
    _find_bots(connection, past)
    _find_notes(connection, user.id, past)
    resolve(connection, [key for key, one in past.items() if one.was_recorded])
    missed = tuple(_missed(one) for one in past.values() if one.is_missed)
    _keep(connection, user, missed)
    return missed


def _over(meetings: Iterable[ListedMeeting]) -> Iterable[_Past]:
    now = datetime.now(UTC)
    for meeting in meetings:
        start, end = meeting.body.start_time, meeting.body.end_time
        if start and end and start <= end and now - JUDGED < end <= now:
            yield _Past(meeting, start, end)


def _find_bots(connection: Connection, past: Mapping[str, _Past]) -> None:
    _find_listed(connection, past)
    for row in connection.execute(_links().where(Link.meeting_id.in_(past))):
        one = past[row.meeting_id]
        if one.serves(row):
            one.bots[row.id] = _facts(row)
            # Its bot was sent, and the link was not taken back: it was to be recorded.
            one.was_noted |= row.ended_at is None
    _find_copies(connection, past)


def _find_listed(connection: Connection, past: Mapping[str, _Past]) -> None:
    named = {one.meeting.bot_id for one in past.values()} - {None}
    known = {
        row.id: _facts(row) for row in connection.execute(select(*_BOT).where(Bot.id.in_(named)))
    }
    for one in past.values():
        if (bot_id := one.meeting.bot_id) is not None:
            one.bots[bot_id] = known.get(bot_id, _BotFacts(bot_id))


def _find_copies(connection: Connection, past: Mapping[str, _Past]) -> None:
    # The bot of a shared meeting may be named on another user's copy only.
    same: dict[str, list[_Past]] = defaultdict(list)
    for one in past.values():
        body = one.meeting.body
        if key := meeting_key(body.ical_uid, one.start, body.details):
            same[key].append(one)
    copies = _links().join(CalendarMeeting, CalendarMeeting.id == Link.meeting_id)
    copies = copies.add_columns(CalendarMeeting.meeting_key)
    for row in connection.execute(copies.where(CalendarMeeting.meeting_key.in_(sorted(same)))):
        for one in same[row.meeting_key]:
            if one.serves(row):
                one.bots[row.id] = _facts(row)


def _find_notes(connection: Connection, user_id: str, past: Mapping[str, _Past]) -> None:
    noted = select(CalendarFinding.subject, CalendarFinding.starts_at).where(
        CalendarFinding.calendar_user_id == user_id,
        CalendarFinding.kind == "will_record_without_bot",
        CalendarFinding.subject.in_(past),
    )
    missed = select(MissedMeeting.meeting_id, MissedMeeting.start_time)
    missed = missed.where(MissedMeeting.meeting_id.in_(past))
    for meeting_id, start in (*connection.execute(noted), *connection.execute(missed)):
        # Of another time, before a reschedule, it says nothing.
        past[meeting_id].was_noted |= start == past[meeting_id].start


def _links() -> Select[*tuple[Any, ...]]:
    return select(*_LINK).join(Bot, Bot.id == Link.bot_id)


def _facts(row: Any) -> _BotFacts:
    return _BotFacts(row.id, row.status, row.status_at, row.recorded, row.ended_sub_code)


def _missed(one: _Past) -> NewMissed:
    title = one.meeting.body.title
    about = (one.meeting.id, title, one.start, one.end)
    if not one.bots:
        return NewMissed(*about, reason="no_bot")
    # Of several the one that Recall names for this meeting, or else the latest.
    named = one.meeting.bot_id
    bot = max(one.bots.values(), key=lambda bot: (bot.id == named, bot.status_at, bot.id))
    return NewMissed(*about, _reason(bot), bot.sub_code, bot.id)


def _reason(bot: _BotFacts) -> MissedReason:
    kind = end_kind(bot.status, bot.sub_code, recorded=False)
    if kind == "fatal":
        return "bot_failed"
    return "not_admitted" if kind == "not_admitted" else "not_recorded"


def _keep(connection: Connection, user: CalendarUser, missed: Sequence[NewMissed]) -> None:
    if not missed:
        return
    whose = {
        "calendar_user_id": user.id,
        "external_id": storable(str(user.external_id), EXTERNAL_ID_LIMIT),
    }
    rows = [{**asdict(one), **whose} for one in missed]
    rows.sort(key=lambda row: str(row["meeting_id"]))
    with watch_missed(connection, user.id, [one.meeting_id for one in missed]):
        connection.execute(_upsert(connection), rows)


def _upsert(connection: Connection) -> Insert:
    statement = insert_into(connection, _MISSED)
    new, kept = statement.excluded, MissedMeeting
    # Moved to another time and missed again: that is news, whatever became of the first time.
    is_same = kept.start_time == new.start_time
    changed: dict[str, Any] = {
        name: new[name] for name in NewMissed.__slots__ if name != "meeting_id"
    }
    changed |= {"calendar_user_id": new.calendar_user_id, "external_id": new.external_id}
    changed["found_at"] = case((is_same, kept.found_at), else_=new.found_at)
    changed["resolved_at"] = case((is_same, kept.resolved_at), else_=null())
    statement = statement.values(found_at=db_now())
    return statement.on_conflict_do_update(index_elements=["meeting_id"], set_=changed)
