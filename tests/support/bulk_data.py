"""A database full of rows, as years of work would leave it: written past the code."""

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, insert, text

from models.tables.bot import Bot, BotStatus
from models.tables.calendar import CalendarMeeting, CalendarUser, MeetingPerson
from models.tables.delivery import Delivery
from models.tables.event import Event, EventAttempt, EventDelivery
from models.tables.link import Link, LinkAttempt
from models.tables.recording import Recording
from tests.support.bulk_events import events_of
from tests.support.rows import later

SUBJECTS = ("Roadmap", "Pricing", "Hiring", "Onboarding", "Renewal", "Incident", "Budget")
KINDS = ("sync", "review", "weekly", "workshop", "kickoff", "retro")
CODES = ("joining_call", "done")
CHUNK = 5000
Row = dict[str, Any]


def an_id(kind: int, number: int) -> str:
    """A UUID that tells what it is for and is the same each time."""
    return str(UUID(int=(number * 0x9E3779B97F4A7C15 % (1 << 64)) << 64 | kind, version=4))


def bot_id(number: int) -> str:
    """The number-th bot's id."""
    return an_id(1, number)


def meeting_id(number: int) -> str:
    """The number-th bot's meeting's id."""
    return an_id(2, number)


def populate(engine: Engine, bots: int, users: int = 200, seed: int = 1) -> None:
    """Write so many bots, each of one meeting a minute later than the one before, the last newest.

    One in twenty has no meeting, one in fifty failed, one in thirty is partial.
    """
    rng = random.Random(seed)
    tables: dict[type, list[Row]] = {
        CalendarUser: [
            {"id": an_id(3, n), "external_id": f"person-{n:05d}"} for n in range(users)
        ],
        Bot: [], BotStatus: [], CalendarMeeting: [], MeetingPerson: [], Link: [],
        LinkAttempt: [], Delivery: [], Recording: [], Event: [], EventDelivery: [],
        EventAttempt: [],
    }  # fmt: skip
    for number in range(bots):
        for table, rows in _rows(number, users, rng).items():
            tables[table] += rows
    with engine.begin() as connection:
        for table, rows in tables.items():
            for start in range(0, len(rows), CHUNK):
                connection.execute(insert(table), rows[start : start + CHUNK])
        connection.execute(text("ANALYZE"))


def _rows(number: int, users: int, rng: random.Random) -> dict[type, list[Row]]:
    start = later(60 * number)
    bot, meeting = bot_id(number), meeting_id(number)
    link_state = _link_state(number)
    seen = {"bot_id": bot, "occurred_at": start, "sub_code": None, "message": None}
    found: dict[type, list[Row]] = {
        Bot: [_bot(number, link_state)],
        BotStatus: [
            {**seen, "code": code, "delivery_id": None} for code in ("joining_call", "done")
        ],
        LinkAttempt: [_attempt(number, link_state)],
        Delivery: [_delivery(number, code) for code in CODES],
        Recording: [_recording(number)] if number % 25 != 4 else [],
        **events_of(number, bot, start),
    }
    if link_state not in ("linked", "partial"):
        return found
    user = number % users
    people = {f"person-{user:05d}@north.example", f"guest{rng.randrange(users * 3)}@south.example"}
    title = f"{rng.choice(SUBJECTS)} {rng.choice(KINDS)} {number % 97}"
    state = "owed" if link_state == "partial" else "gone" if number % 40 == 1 else "found"
    times = {"start_time": start, "end_time": start + timedelta(minutes=30)}
    found[CalendarMeeting] = [
        {
            "id": meeting,
            "calendar_user_id": an_id(3, user),
            **times,
            "state": state,
            "title": title,
            "ical_uid": f"{number:08x}@calendar.example",
            "meeting_key": a_meeting_key(number),
            "organizer_email": f"person-{user:05d}@north.example",
            "calendar_platform": "google",
            "meeting_platform": rng.choice(("zoom", "google_meet", "microsoft_teams")),
        }
    ]
    found[MeetingPerson] = [{"meeting_id": meeting, "email": email} for email in sorted(people)]
    found[Link] = [
        {
            "bot_id": bot,
            "meeting_id": meeting,
            "calendar_user_id": an_id(3, user),
            "external_id": f"person-{user:05d}",
            "seen_start": times["start_time"],
            "seen_end": times["end_time"],
            "linked_at": start + timedelta(seconds=2),
            "updated_at": start + timedelta(seconds=2),
            "last_seen_at": start + timedelta(seconds=2),
            "ended_at": start if number % 100 == 7 else None,
            "end_reason": "left_calendar_meetings" if number % 100 == 7 else None,
        }
    ]
    return found


def a_meeting_key(number: int) -> str:
    """The key of the number-th bot's meeting: one in a hundred is the one before."""
    return f"{number - (number % 100 == 11):032x}"


def _link_state(number: int) -> str:
    if number % 50 == 3:
        return "failed"
    if number % 20 == 5:
        return "no_meetings"
    return "partial" if number % 30 == 2 else "linked"


def _bot(number: int, link_state: str) -> Row:
    start = later(60 * number)
    return {
        "id": bot_id(number),
        "status": "fatal" if number % 25 == 4 else "done",
        "sub_code": "meeting_not_found" if number % 25 == 4 else None,
        "status_at": start + timedelta(minutes=30),
        "first_seen_at": start,
        "link_state": link_state,
        "due_seq": 2,
        "due_at": start + timedelta(days=3650) if link_state == "partial" else None,
        "attempts": 3 if link_state in ("failed", "partial") else 0,
        "last_error": "bot_not_found: bot/{id}" if link_state == "failed" else None,
        "bot_name": "Scribe",
        "metadata": {"team": f"team-{number % 40}", "deal": f"deal-{number}"},
        "meeting_platform": "zoom",
        "settled_at": start,
        **_outcome(number, start),
    }


def _outcome(number: int, start: datetime) -> Row:
    """Bots that are fatal, or that nobody let in, recorded nothing; of a few it is not known."""
    is_fatal, is_barred = number % 25 == 4, number % 10 == 6 or number % 40 == 25
    recorded = not (is_fatal or is_barred)
    sub_code = "timeout_exceeded_waiting_room" if is_barred else "call_ended_by_host"
    return {
        "recorded": None if number % 61 == 59 else recorded,
        "recorded_from": start if recorded else None,
        "recorded_until": start + timedelta(minutes=28) if recorded else None,
        "ended_sub_code": "meeting_not_found" if is_fatal else sub_code,
    }


def _attempt(number: int, link_state: str) -> Row:
    start = later(60 * number)
    call = {"method": "GET", "path": "bot/{id}", "about": None, "status": 200, "ms": 31}
    return {
        "bot_id": bot_id(number),
        "started_at": start,
        "finished_at": start + timedelta(seconds=1),
        "outcome": link_state,
        "error": None,
        "calls": [{**call, "error": None}],
    }


def _recording(number: int) -> Row:
    start = later(60 * number)
    has_failed = number % 40 == 6
    return {
        "id": an_id(5, number),
        "bot_id": bot_id(number),
        "status": "failed" if number % 45 == 8 else "done",
        "started_at": start,
        "completed_at": start + timedelta(minutes=30),
        "expires_at": start + timedelta(days=7, minutes=30),
        "transcript_id": an_id(6, number) if number % 3 else None,
        "transcript_status": "failed" if has_failed else "done" if number % 3 else None,
        "video_id": an_id(10, number),
        "source": "bot",
        "seen_at": start + timedelta(minutes=31),
    }


def _delivery(number: int, code: str) -> Row:
    start = later(60 * number + (1 if code == "done" else 0))
    return {
        "id": f"msg_{number:08d}_{code}",
        "event": f"bot.{code}",
        "outcome": "accepted",
        "bot_id": bot_id(number),
        "code": code,
        "occurred_at": start,
        "body": b"{}",
        "received_at": start,
        "last_received_at": start,
        "applied_at": start,
        "scheme": "svix",
        "secret_fingerprint": "0" * 12,
    }
