"""Everything that can happen in the fake workspace, in Recall's words."""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta

from tests.lab.world.clock import Clock, moment
from tests.lab.world.preferences import FIELDS, reason_to_record
from tests.lab.world.shapes import (
    CalendarMeeting,
    CalendarUser,
    Connection,
    MeetingReference,
    Preferences,
    StatusChange,
)
from tests.lab.world.store import Shelves, locked

MEETINGS_KEPT = timedelta(days=60)


class World(Shelves):
    """One workspace of Recall, and what can happen to it.

    Methods may be called from any thread; hold `lock` around several that belong together.
    `keeps_references` says whether a bot goes on naming meetings that Recall has cleared, which
    nothing documents: False empties `calendar_meetings`, True leaves ids that answer 404. Users and
    meetings are listed in pages of `list_page_size`, or as a plain array, as documented.
    """

    def __init__(self, *, clock: Clock = time.time, seed: int = 0) -> None:
        super().__init__(clock=clock, seed=seed)
        self.keeps_references = False
        self.list_page_size: int | None = None

    @locked
    def connect(self, user_id: str, platform: str, email: str) -> CalendarUser:
        """Connect a calendar; a former one of that platform loses its bots and meetings.

        https://docs.recall.ai/docs/calendar-v1-faq
        """
        user = self.users[user_id]
        connection = user.connection(platform)
        self._clear_calendar(user_id, platform)
        connection.connected, connection.email = True, email
        connection.id = self.new_id()
        return user

    @locked
    def disconnect(self, user_id: str, platform: str) -> CalendarUser:
        """Disconnect one platform: its connection goes null, its meetings are gone."""
        user = self.users[user_id]
        user.connections[user.connections.index(user.connection(platform))] = Connection(platform)
        self._clear_calendar(user_id, platform)
        return user

    @locked
    def delete_user(self, user_id: str) -> None:
        """Delete a calendar user with all calendars; a later authenticate makes a new one."""
        user = self.users.pop(user_id)
        if user.external_id is not None:
            self._by_external_id.pop(user.external_id, None)
        self._clear_calendar(user_id)

    @locked
    def set_preferences(self, user_id: str, changes: Mapping[str, bool | str]) -> CalendarUser:
        """Change preferences; upcoming meetings they no longer select lose their scheduled bots."""
        user = self.users[user_id]
        if unknown := set(changes) - {*FIELDS, "bot_name"}:
            raise ValueError(f"no such preference: {sorted(unknown)}")
        user.preferences = user.preferences or Preferences(self.new_id())
        for name, value in changes.items():
            setattr(user.preferences, name, value)
        for meeting in self.meetings_of(user_id):
            self._reconsider(user, meeting)
        return user

    @locked
    def override_should_record(self, meeting_id: str, *, value: bool | None) -> CalendarMeeting:
        """Override the preferences for one meeting; None leaves it to them again."""
        meeting = self.meetings[meeting_id]
        meeting.override_should_record = value
        self._reconsider(self.users[meeting.user_id], meeting)
        return meeting

    @locked
    def reschedule(self, meeting_id: str, start_time: datetime, end_time: datetime) -> None:
        """Move a meeting; bots that name it are told the new times."""
        meeting = self.meetings[meeting_id]
        meeting.start_time, meeting.end_time = start_time, end_time
        for reference in self._references(meeting_id):
            reference.start_time, reference.end_time = start_time, end_time

    @locked
    def remove_meeting(self, meeting_id: str) -> None:
        """Delete a meeting (404 from then on); bots keep or lose it as `keeps_references` says."""
        del self.meetings[meeting_id]
        self._forget({meeting_id})

    @locked
    def refer(self, bot_id: str, meeting_id: str) -> None:
        """Let a bot name one meeting more, as when a further attendee's copy is de-duplicated."""
        bot, meeting = self.bots[bot_id], self.meetings[meeting_id]
        whose = self.users[meeting.user_id]
        bot.calendar_meetings.append(
            MeetingReference(
                meeting.id, meeting.start_time, meeting.end_time, whose.id, whose.external_id
            )
        )
        meeting.bot_id = bot_id

    @locked
    def drop_meeting(self, bot_id: str, meeting_id: str) -> None:
        """Take one meeting out of a bot's `calendar_meetings`; the meeting itself stays."""
        bot = self.bots[bot_id]
        bot.calendar_meetings = [r for r in bot.calendar_meetings if r.id != meeting_id]
        meeting = self.meetings.get(meeting_id)
        if meeting is not None and meeting.bot_id == bot_id:
            meeting.bot_id = None

    @locked
    def change_status(
        self, bot_id: str, code: str, *, sub_code: str | None = None, at: datetime | None = None
    ) -> None:
        """Append a status change to a bot, now unless `at` is given."""
        change = StatusChange(code, at or moment(self.clock), sub_code)
        self.bots[bot_id].status_changes.append(change)

    @locked
    def remove_bot(self, bot_id: str) -> None:
        """Delete a bot (404 from then on)."""
        del self.bots[bot_id]

    @locked
    def revoke_tokens(self, external_id: str) -> int:
        """Make every token of that user worthless; return how many there were."""
        user = self.user_named(external_id)
        return 0 if user is None else self.tokens.revoke(user.id)

    @locked
    def expire_tokens(self, external_id: str | None = None) -> int:
        """Let the tokens of that user (of everybody without one) run out now; return how many."""
        user = None if external_id is None else self.user_named(external_id)
        if external_id is not None and user is None:
            return 0
        return self.tokens.expire(None if user is None else user.id)

    @locked
    def purge_old_meetings(self) -> int:
        """Remove what ended over 60 days ago (/docs/calendar-integration-faq); return how many."""
        oldest = moment(self.clock) - MEETINGS_KEPT
        old = [meeting.id for meeting in self.meetings.values() if meeting.end_time < oldest]
        for meeting_id in old:
            del self.meetings[meeting_id]
        return len(old)

    def _references(self, meeting_id: str) -> list[MeetingReference]:
        every = (r for bot in self.bots.values() for r in bot.calendar_meetings)
        return [reference for reference in every if reference.id == meeting_id]

    def _clear_calendar(self, user_id: str, platform: str | None = None) -> None:
        cleared = {
            meeting.id
            for meeting in self.meetings.values()
            if meeting.user_id == user_id and platform in {None, meeting.calendar_platform}
        }
        for meeting_id in cleared:
            del self.meetings[meeting_id]
        self._forget(cleared)

    def _forget(self, meeting_ids: set[str]) -> None:
        if self.keeps_references or not meeting_ids:
            return
        for bot in self.bots.values():
            kept = [r for r in bot.calendar_meetings if r.id not in meeting_ids]
            bot.calendar_meetings = kept

    def _reconsider(self, user: CalendarUser, meeting: CalendarMeeting) -> None:
        now = moment(self.clock)
        meeting.will_record_reason = reason_to_record(user, meeting, now)
        meeting.will_record = meeting.will_record_reason is not None
        if not meeting.will_record and meeting.start_time > now:
            self._unschedule(meeting)

    def _unschedule(self, meeting: CalendarMeeting) -> None:
        bot = self.bots.get(meeting.bot_id or "")
        meeting.bot_id = None
        if bot is None or not bot.is_scheduled:
            return
        self.drop_meeting(bot.id, meeting.id)
        if not bot.calendar_meetings:
            self.remove_bot(bot.id)
