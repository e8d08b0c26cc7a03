"""Seeded builders: the same seed makes the same ids, people and meetings in every process."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from tests.lab.world.clock import moment
from tests.lab.world.invites import make_id, make_invite, recording_id
from tests.lab.world.shapes import (
    Attendee,
    Bot,
    CalendarMeeting,
    CalendarUser,
    Connection,
    Preferences,
    Recording,
)
from tests.lab.world.timeline import timeline, was_recorded
from tests.lab.world.world import World

FIRST_NAMES = (
    "Ines",
    "Tomas",
    "Wanjiru",
    "Yuki",
    "Odile",
    "Piotr",
    "Amara",
    "Leif",
    "Zoya",
    "Ravi",
)
COMPANIES = ("harbourlight.example", "quincetree.example", "slatemill.example")
SUBJECTS = ("Roadmap", "Onboarding", "Pricing", "Incident review", "Handover", "Hiring", "Renewal")
KINDS = ("weekly", "call", "workshop", "check-in", "retrospective")
MEETING_PLATFORMS = ("google_meet", "zoom", "microsoft_teams", "webex", "goto_meeting")
JOINS_EARLY = timedelta(minutes=2)


class Builder:
    """Makes users, meetings and bots and puts them into a world."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self._users = 0

    def user(self, external_id: str | None = None, platform: str = "google") -> CalendarUser:
        """Return a new calendar user, connected on one platform, who records everything."""
        name, company = self.rng.choice(FIRST_NAMES), self.rng.choice(COMPANIES)
        user = CalendarUser(self._id(), self._free_name(external_id))
        user.preferences = Preferences(self._id(), record_external=True, record_internal=True)
        connection = user.connection(platform)
        connection.connected, connection.id = True, self._id()
        connection.email = f"{name.lower()}.{self._users}@{company}"
        return self.world.add_user(user)

    def meeting(
        self,
        user: CalendarUser,
        *,
        start: datetime | None = None,
        minutes: int = 30,
        meeting_platform: str | None = "",
    ) -> CalendarMeeting:
        """Return a meeting in that user's calendar; None as platform makes one without a link."""
        start = start or self._recently()
        if meeting_platform == "":
            meeting_platform = self.rng.choice(MEETING_PLATFORMS)
        meeting = CalendarMeeting(self._id(), user.id, start, start + timedelta(minutes=minutes))
        meeting.title = f"{self.rng.choice(SUBJECTS)} {self.rng.choice(KINDS)}"
        meeting.meeting_platform = meeting_platform
        meeting.invite = make_invite(meeting_platform, self.rng)
        self._fill(user, meeting)
        return self.world.add_meeting(meeting)

    def copy(self, meeting: CalendarMeeting, user: CalendarUser) -> CalendarMeeting:
        """Return the same meeting in another user's calendar: own id, shared ical_uid."""
        twin = CalendarMeeting(self._id(), user.id, meeting.start_time, meeting.end_time)
        for name in ("title", "meeting_platform", "invite", "ical_uid", "organizer_email"):
            setattr(twin, name, getattr(meeting, name))
        twin.attendees = list(meeting.attendees)
        self._place(user, twin)
        return self.world.add_meeting(twin)

    def bot(self, meetings: Sequence[CalendarMeeting] = (), *, outcome: str | None = "done") -> Bot:
        """Return a bot that serves these meetings; outcome None leaves it scheduled."""
        start = meetings[0].start_time if meetings else self._recently()
        platform = meetings[0].meeting_platform if meetings else "google_meet"
        bot = Bot(self._id(), join_at=start - JOINS_EARLY)
        bot.meeting_url = self._meeting_url(meetings, platform)
        bot.meeting_link = f"https://{platform}.example/j/{bot.id[:8]}"
        self.world.add_bot(bot)
        for meeting in meetings:
            self.world.refer(bot.id, meeting.id)
        self._live(bot, outcome)
        return bot

    def populate(self, bots: int, *, users: int = 0, outcome: str | None = "done") -> list[Bot]:
        """Return that many new bots over `users` people (a third of the bots, at least three).

        One in twenty is ad hoc (no meeting), one in four is shared by two people.
        """
        people = [self.user() for _ in range(users or max(3, bots // 3))]
        return [self._populated(people, outcome) for _ in range(bots)]

    def _populated(self, people: list[CalendarUser], outcome: str | None) -> Bot:
        chance = self.rng.random()
        if chance < 0.05:
            return self.bot(outcome=outcome)
        owner, other = self.rng.sample(people, 2)
        meetings = [self.meeting(owner)]
        if chance < 0.30:
            meetings.append(self.copy(meetings[0], other))
        return self.bot(meetings, outcome=outcome)

    def _live(self, bot: Bot, outcome: str | None) -> None:
        joins = bot.join_at or moment(self.world.clock)
        changes = timeline(outcome or "done", joins, random.Random(bot.id))
        bot.status_changes = changes[:1] if outcome is None else changes
        if was_recorded(bot.status_changes):
            bot.recordings = [self._recording(bot)]

    def _recording(self, bot: Bot) -> Recording:
        times = {change.code: change.created_at for change in bot.status_changes}
        title = next((self._title(r.id) for r in bot.calendar_meetings), None)
        began, ended = times["in_call_recording"], times.get("recording_done")
        made = dict.fromkeys(("video_mixed", "transcript", "participant_events"), "done")
        recording = Recording(recording_id(bot.id), began, ended, title=title, media=made)
        if expired := times.get("media_expired"):
            recording.code, recording.media, recording.expires_at = "deleted", {}, expired
        return recording

    def _title(self, meeting_id: str) -> str | None:
        return self.world.meetings[meeting_id].title

    def _meeting_url(
        self, meetings: Sequence[CalendarMeeting], platform: str | None
    ) -> dict[str, str | None]:
        details = meetings[0].invite if meetings else make_invite(platform, self.rng)
        return {**(details or {}), "platform": platform}

    def _fill(self, user: CalendarUser, meeting: CalendarMeeting) -> None:
        guest = f"{self.rng.choice(FIRST_NAMES).lower()}@{self.rng.choice(COMPANIES)}"
        host = _calendar(user).email or guest
        meeting.attendees = [
            Attendee(host, is_organizer=True),
            Attendee(guest, guest.partition("@")[0].title(), status="tentative"),
        ]
        meeting.organizer_email = host
        meeting.ical_uid = f"{self.rng.randbytes(10).hex()}@calendar.example"
        meeting.is_recurring = self.rng.random() < 0.4
        self._place(user, meeting)

    def _place(self, user: CalendarUser, meeting: CalendarMeeting) -> None:
        connected = _calendar(user)
        meeting.calendar_platform = connected.platform
        meeting.platform_id = self.rng.randbytes(10).hex()
        meeting.visibility = self.rng.choice((None, "default", "private"))
        meeting.is_hosted_by_me = connected.email == meeting.organizer_email
        domains = {attendee.email.partition("@")[2] for attendee in meeting.attendees}
        meeting.is_external = len(domains) > 1
        meeting.will_record = meeting.meeting_platform is not None
        reason = "record_external" if meeting.is_external else "record_internal"
        meeting.will_record_reason = reason if meeting.will_record else None

    def _free_name(self, wanted: str | None) -> str:
        self._users += 1
        while self.world.user_named(f"person-{self._users:04d}") is not None:
            self._users += 1
        return wanted or f"person-{self._users:04d}"

    def _recently(self) -> datetime:
        hour = moment(self.world.clock).replace(minute=0, second=0, microsecond=0)
        # Whole hours, so that two processes with one seed agree on the times as well.
        return hour - timedelta(hours=self.rng.randint(3, 12))

    def _id(self) -> str:
        return make_id(self.rng)


def _calendar(user: CalendarUser) -> Connection:
    return next((c for c in user.connections if c.connected), user.connections[0])
