"""Compares a user's links with their calendar as it is now.

Calendar V1 has no webhooks, so a reconnected calendar, narrower recording preferences and a deleted
user show only in List Calendar Meetings.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, exists, or_, select, update

from models.core.humanize import plural
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from models.tables.calendar import CalendarUser
from models.tables.link import Link
from workers.calendars.actions import CalendarUserActions, UnknownUserError
from workers.calendars.findings import NewFinding, find, keep_findings, same_person
from workers.calendars.missed import NewMissed, judge
from workers.calendars.user_list import is_believable, keep_users, mark_gone, time_of_list
from workers.db.transactions import in_transaction
from workers.outbox.links import watch_links
from workers.privacy.tombstones import USER_ERASED, is_erased
from workers.recall_api.calendar_client import CalendarClient
from workers.recall_api.calendar_schemas import CalendarUser as ListedUser
from workers.recall_api.calendar_schemas import ListedMeeting
from workers.recall_api.errors import Endpoint
from workers.recall_api.schemas import unreadable

# How far back links are compared: older ones were compared on earlier nights.
RECENT = timedelta(days=7)
LEFT, GONE, RETURNED = "left_calendar_meetings", "calendar_gone", "returned"
# Further back than RECENT, since a meeting that was moved keeps its id.
LISTED = timedelta(days=30)
# Statuses after which the bot has recorded something.
_RECORDED = ("in_call_recording", "recording_done")


@dataclass(frozen=True, slots=True)
class Change:
    """One changed link, how it changed, and why."""

    bot_id: str
    meeting_id: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of checking one user."""

    links: int = 0
    changes: tuple[Change, ...] = ()
    findings: tuple[NewFinding, ...] = ()
    missed: tuple[NewMissed, ...] = ()

    @property
    def changed(self) -> int:
        """How many links were changed."""
        return len(self.changes)

    @property
    def ended(self) -> int:
        """How many links of bots without a recording were ended."""
        return self._count("ended")

    @property
    def reopened(self) -> int:
        """How many links were reopened."""
        return self._count("reopened")

    @property
    def annotated(self) -> int:
        """How many links of recorded meetings got a reason, but stay open."""
        return self._count("annotated")

    def in_words(self) -> str:
        """Return what was compared and what came of it, as one line of text."""
        kept = "kept, as the bot recorded"
        counts = ((self.ended, "ended"), (self.reopened, "reopened"), (self.annotated, kept))
        changes = ", ".join(f"{count} {what}" for count, what in counts if count)
        missed = plural(len(self.missed), "meeting")
        return (
            f"{plural(self.links, 'link')} compared, {changes or 'none changed'}; {missed} missed"
        )

    def _count(self, what: str) -> int:
        return sum(change.what == what for change in self.changes)


@dataclass(frozen=True, slots=True)
class _Held:
    bot_id: str
    meeting_id: str
    ended_at: datetime | None
    end_reason: str | None
    has_recorded: bool


class Check:
    """Compares users' links with their calendars."""

    def __init__(self, engine: Engine, client: CalendarClient) -> None:
        self.engine = engine
        self._client = client

    def one(self, external_id: str, actions: CalendarUserActions) -> CheckResult:
        """Check one user; of a user who is gone at Recall only the links, without a token."""
        # The whole list, since duplicates are found by a shared address.
        at = time_of_list(self.engine)
        everybody = self._client.users()
        listed = next((user for user in everybody if user.external_id == external_id), None)
        if listed is None:
            self._refuse_short_list(everybody)
            gone = self.gone(external_id)
            if not gone.links:
                raise UnknownUserError(external_id)
            return gone
        keep_users(self.engine, [listed], at)
        duplicates = same_person(everybody).get(listed.id, ())
        after = datetime.now(UTC) - LISTED
        return self.user(listed, actions.meetings(external_id, after), duplicates)

    def user(
        self,
        user: ListedUser,
        meetings: Sequence[ListedMeeting],
        duplicates: Sequence[str] = (),
    ) -> CheckResult:
        """Compare a user's links with these meetings, and store the findings."""
        external_id = user.external_id

        def work(connection: Connection) -> CheckResult:
            # Asked here: nothing is stored about a user who was erased a moment ago.
            if external_id is None or is_erased(connection, external_id):
                return CheckResult()
            result = _compare(connection, external_id, meetings)
            # Before the findings of the last check go: they say what was to be recorded.
            missed = judge(connection, user, meetings)
            found = (*find(connection, user.id, meetings), *_duplicates(user.id, duplicates))
            keep_findings(connection, user.id, found)
            return replace(result, findings=found, missed=missed)

        return in_transaction(self.engine, work)

    def gone(self, external_id: str) -> CheckResult:
        """Mark the links of a user whom Recall does not list: their calendar is gone."""

        def work(connection: Connection) -> CheckResult:
            named = CalendarUser.external_id == external_id
            for user_id in connection.scalars(select(CalendarUser.id).where(named)).all():
                keep_findings(connection, user_id, ())
            mark_gone(connection, named)
            return _compare(connection, external_id, ())

        return in_transaction(self.engine, work)

    def _refuse_short_list(self, everybody: Sequence[ListedUser]) -> None:
        with self.engine.begin() as connection:
            if not is_believable(connection, everybody):
                raise unreadable(Endpoint.USERS, "the list is too short to be believed")


def _duplicates(user_id: str, others: Iterable[str]) -> tuple[NewFinding, ...]:
    return tuple(NewFinding("one_person_two_external_ids", user_id, other) for other in others)


def _compare(
    connection: Connection, external_id: str, meetings: Sequence[ListedMeeting]
) -> CheckResult:
    held = _links(connection, external_id)
    listed = {meeting.id: meeting for meeting in meetings}
    reasons = [(link, _reason(link, listed.get(link.meeting_id))) for link in held]
    changes = [change for link, reason in reasons if (change := _change(link, reason))]
    with watch_links(connection, bot_ids={change.bot_id for change in changes}):
        for change in changes:
            _write(connection, change)
    return CheckResult(links=len(held), changes=tuple(changes))


def _links(connection: Connection, external_id: str) -> list[_Held]:
    has_recorded = or_(
        Bot.sealed_at.is_not(None),
        exists().where(BotStatus.bot_id == Bot.id, BotStatus.code.in_(_RECORDED)),
    )
    columns = (Link.bot_id, Link.meeting_id, Link.ended_at, Link.end_reason)
    theirs = (
        select(*columns, has_recorded.label("has_recorded"))
        .join(Bot, Bot.id == Link.bot_id)
        .where(Link.external_id == external_id)
        .where(Link.seen_start >= db_now(-RECENT.total_seconds()))
        .order_by(Link.bot_id, Link.meeting_id)
        # Waits for a drain that is saving the bot: its list of meetings is newer.
        .with_for_update(of=Bot)
    )
    return [_Held(*row) for row in connection.execute(theirs)]


def _reason(link: _Held, listed: ListedMeeting | None) -> str | None:
    if listed is None:
        return GONE
    if listed.bot_id is not None:
        return RETURNED if listed.bot_id == link.bot_id else LEFT
    # The bot of a shared meeting may be named on another user's copy only, so this proves nothing.
    end, now = listed.body.end_time, datetime.now(UTC)
    is_unwanted = listed.body.will_record is False and end is not None and end > now
    return LEFT if is_unwanted and not link.has_recorded else None


def _change(link: _Held, reason: str | None) -> Change | None:
    if reason is None or link.end_reason in (USER_ERASED, reason):
        return None
    # A link that ended without a recording stays ended. A recorded one was only annotated, and the
    # annotation is removed when the meeting returns.
    is_over = link.ended_at is not None and (link.has_recorded or reason != RETURNED)
    if is_over or (reason == RETURNED and link.end_reason is None):
        return None
    what = "annotated" if link.has_recorded else "ended"
    return Change(link.bot_id, link.meeting_id, "reopened" if reason == RETURNED else what, reason)


def _write(connection: Connection, change: Change) -> None:
    row = update(Link).where(Link.bot_id == change.bot_id, Link.meeting_id == change.meeting_id)
    if change.what == "reopened":
        connection.execute(row.values(ended_at=None, end_reason=None))
    elif change.what == "ended":
        connection.execute(row.values(ended_at=db_now(), end_reason=change.reason))
    else:
        connection.execute(row.values(end_reason=change.reason))
