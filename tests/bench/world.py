"""The world that every contender is measured in: each answer follows from a number alone.

Nothing is kept, so the fake Recall, the load generator and the checks agree without talking.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
# What a bot of v1.11 tells on its way: eight events, of which the last is terminal.
CODES = (
    "joining_call",
    "in_waiting_room",
    "in_call_not_recording",
    "recording_permission_allowed",
    "in_call_recording",
    "breakout_room_entered",
    "call_ended",
    "done",
)
_BOT = "b0700000-0000-4000-8000-"
_MEETING = "c070000{}-0000-4000-8000-"
_USER = "d0700000-0000-4000-8000-"


def bot_id(number: int) -> str:
    """The number-th bot's id."""
    return f"{_BOT}{number:012x}"


def number_of(identifier: str) -> int:
    """The number a bot's or meeting's id was made of; ValueError for a foreign id."""
    return int(identifier[-12:], 16)


@dataclass(frozen=True, slots=True)
class Meeting:
    """One calendar meeting of one bot, and whose it is."""

    id: str
    user_id: str
    external_id: str
    title: str
    start: str
    end: str

    def as_reference(self) -> dict[str, Any]:
        """Return it as a bot's body names it."""
        user = {"id": self.user_id, "external_id": self.external_id}
        times = {"start_time": self.start, "end_time": self.end}
        return {"id": self.id, **times, "calendar_user": user}

    def as_body(self) -> dict[str, Any]:
        """Return it as Retrieve Calendar Meeting answers."""
        owner = f"{self.external_id}@north.example"
        guest = {"name": None, "email": "guest@south.example", "is_organizer": False}
        return {
            "id": self.id,
            "title": self.title,
            "start_time": self.start,
            "end_time": self.end,
            "platform": "google_calendar",
            "platform_id": self.id,
            "calendar_platform": "google",
            "meeting_platform": "zoom",
            "zoom_invite": {"meeting_id": "12345678901", "meeting_password": None},
            "teams_invite": None,
            "meet_invite": None,
            "webex_invite": None,
            "bot_id": None,
            "override_should_record": None,
            "will_record": True,
            "will_record_reason": "record_external",
            "is_external": True,
            "is_hosted_by_me": True,
            "is_recurring": False,
            "organizer_email": owner,
            "attendee_emails": [owner, "guest@south.example"],
            "attendees": [
                {"name": None, "email": owner, "is_organizer": True, "status": "accepted"},
                {**guest, "status": "tentative"},
            ],
            "ical_uid": f"{self.id}@calendar.example",
            "visibility": "default",
        }


@dataclass(frozen=True, slots=True)
class World:
    """How many calendar users there are (0: one a bot), and whether a third of bots serve two.

    1.33 meetings a bot is Recall's deduplication at work in a company; 1 keeps a link three calls.
    """

    users: int = 0
    is_mixed: bool = False

    def meetings(self, number: int) -> list[Meeting]:
        """The meetings of the number-th bot."""
        count = 2 if self.is_mixed and number % 3 == 0 else 1
        return [self._meeting(number, turn) for turn in range(count)]

    def meeting(self, meeting_id: str) -> Meeting:
        """The meeting of this id; ValueError for a foreign one."""
        return self._meeting(number_of(meeting_id), int(meeting_id[7]))

    def bot_body(self, number: int) -> dict[str, Any]:
        """Return a bot as Retrieve Bot answers."""
        changes = [
            {"code": code, "created_at": occurred_at(number, code), "message": None}
            for code in CODES
        ]
        return {
            "id": bot_id(number),
            "meeting_url": {"meeting_id": "12345678901", "platform": "zoom"},
            "bot_name": "Scribe",
            "join_at": None,
            "status_changes": [{**change, "sub_code": None} for change in changes],
            "recordings": [],
            "metadata": {},
            "calendar_meetings": [one.as_reference() for one in self.meetings(number)],
        }

    def links(self, numbers: range) -> set[tuple[str, str, str, str]]:
        """What must be in the database: bot, meeting, external_id, title."""
        return {
            (bot_id(number), one.id, one.external_id, one.title)
            for number in numbers
            for one in self.meetings(number)
        }

    def _meeting(self, number: int, turn: int) -> Meeting:
        user = (number * 7 + turn * 131) % self.users if self.users else number
        start = START + timedelta(minutes=number % 10_000)
        return Meeting(
            id=f"{_MEETING.format(turn)}{number:012x}",
            user_id=f"{_USER}{user:012x}",
            external_id=f"user-{user}",
            title=f"Roadmap sync {number}",
            start=start.isoformat(),
            end=(start + timedelta(minutes=30)).isoformat(),
        )


def occurred_at(number: int, code: str) -> str:
    """When the number-th bot reached this status."""
    turn = CODES.index(code)
    return (START + timedelta(minutes=number % 10_000, seconds=turn)).isoformat()


def webhook_body(number: int, code: str) -> bytes:
    """The webhook of that status, of v1.11 (https://docs.recall.ai/docs/bot-status-change-events)."""
    data = {"code": code, "sub_code": None, "updated_at": occurred_at(number, code)}
    bot = {"id": bot_id(number), "metadata": {}}
    return json.dumps({"event": f"bot.{code}", "data": {"data": data, "bot": bot}}).encode()
