"""Empties personal data when a user is erased, and again when a late webhook brings it back.

Link rows, times, statuses and Recall's ids stay: they say what happened, but not to whom.
"""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Select, case, delete, exists, null, or_, select, update

from models.core.title_words import TITLE_COLUMNS
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting, CalendarUser, MeetingPerson
from models.tables.calendar_finding import CalendarFinding
from models.tables.delivery import Delivery
from models.tables.link import Link, LinkAttempt
from models.tables.missed_meeting import MissedMeeting
from workers.privacy.tombstones import USER_ERASED, any_erased, has_pseudonym, pseudonyms

_DETAILS = (
    *TITLE_COLUMNS,
    "ical_uid",
    "meeting_key",
    "organizer_email",
    "will_record_reason",
    "attendees",
    "details",
)
_USER_DETAILS = ("email", "google_connected", "microsoft_connected", "seen_at")
_BOT_DETAILS = ("meeting_url", "bot_name", "bot_metadata", "last_error")


def redact_meetings(connection: Connection, meeting_ids: Collection[str]) -> int:
    """Empty meetings of personal data; returns how many had any."""
    # This table is what finds meetings by an address.
    people = delete(MeetingPerson).where(MeetingPerson.meeting_id.in_(meeting_ids))
    connection.execute(people)
    has_details = [getattr(CalendarMeeting, name).is_not(None) for name in _DETAILS]
    unmarked = or_(CalendarMeeting.reason.is_(None), CalendarMeeting.reason != USER_ERASED)
    theirs = update(CalendarMeeting).where(
        CalendarMeeting.id.in_(meeting_ids), or_(unmarked, *has_details)
    )
    emptied: dict[str, Any] = dict.fromkeys(_DETAILS, null())
    emptied |= {"state": "unfetchable", "reason": USER_ERASED}
    return connection.execute(theirs.values(emptied)).rowcount


def redact_calendars(
    connection: Connection, external_id: str, user_ids: Collection[str], whose: str
) -> None:
    """Empty what Recall's lists said of a user; `whose` replaces the external_id.

    Their missed meetings still count, under that name.
    """
    # The user's id stays: it is Recall's, and names nobody elsewhere.
    users = update(CalendarUser).where(CalendarUser.external_id.in_((external_id, whose)))
    emptied: dict[str, Any] = dict.fromkeys(_USER_DETAILS, null())
    connection.execute(users.values(emptied | {"external_id": whose}))
    finding, missed = CalendarFinding, MissedMeeting
    about = or_(finding.calendar_user_id.in_(user_ids), finding.subject.in_(user_ids))
    connection.execute(delete(finding).where(about))
    theirs = or_(missed.external_id == external_id, missed.calendar_user_id.in_(user_ids))
    connection.execute(update(missed).where(theirs).values(title=null(), external_id=whose))


def redact_bots(connection: Connection, bot_ids: Collection[str]) -> int:
    """Empty the payloads, errors and details of bots of erased users; returns how many payloads.

    A bot that also served somebody else keeps its own details, such as the meeting's URL.
    """
    erased = erased_bots(connection, bot_ids)
    if not erased:
        return 0
    others = exists().where(Link.bot_id == Bot.id, ~has_pseudonym())
    has_details = or_(*(getattr(Bot, name).is_not(None) for name in _BOT_DETAILS))
    alone = update(Bot).where(Bot.id.in_(erased), ~others, has_details)
    connection.execute(alone.values(dict.fromkeys(_BOT_DETAILS, null())))
    # An error quotes Recall's answer, which may contain anything.
    attempts = update(LinkAttempt).where(LinkAttempt.bot_id.in_(erased))
    connection.execute(attempts.where(LinkAttempt.error.is_not(None)).values(error=null()))
    return empty_bodies(connection, erased)


def erased_bots(connection: Connection, bot_ids: Iterable[str]) -> list[str]:
    """Return which of these bots served an erased user."""
    # Most workspaces have erased nobody: the database then skips the links.
    theirs = (Link.bot_id.in_(list(bot_ids)), has_pseudonym())
    found = select(Link.bot_id).where(any_erased(), *theirs)
    return sorted(set(connection.scalars(found)))


def empty_bodies(connection: Connection, bot_ids: Collection[str]) -> int:
    """Empty the payloads of these bots' deliveries; returns how many had one."""
    theirs = update(Delivery).where(Delivery.bot_id.in_(bot_ids), Delivery.body != b"")
    return connection.execute(theirs.values(body=b"")).rowcount


def empty_late_bodies(connection: Connection, limit: int) -> int:
    """Empty payloads that came after their user was erased and that are never applied."""
    # By the pseudonyms, since external_id has an index: there may be millions of links.
    bots = select(Link.bot_id).where(Link.external_id.in_(pseudonyms()))
    late = select(Delivery.id).where(Delivery.bot_id.in_(bots), Delivery.body != b"").limit(limit)
    return connection.execute(
        update(Delivery).where(Delivery.id.in_(late)).values(body=b"")
    ).rowcount


def annotate_links(
    connection: Connection, meeting_ids: Collection[str] | Select[str], whose: str
) -> int:
    """Mark links as an erased user's, and end those without a recording.

    `whose` replaces the external_id. Returns how many links were not marked yet.
    """
    # The link of a recorded meeting stays open.
    sealed = exists().where(Bot.id == Link.bot_id, Bot.sealed_at.is_not(None))
    ended_at = case(
        (sealed, Link.ended_at), (Link.ended_at.is_(None), db_now()), else_=Link.ended_at
    )
    is_news = or_(~has_pseudonym(), Link.external_id != whose)
    theirs = update(Link).where(Link.meeting_id.in_(meeting_ids), is_news)
    values = {"external_id": whose, "end_reason": USER_ERASED, "ended_at": ended_at}
    done = connection.execute(theirs.values(values).execution_options(synchronize_session=False))
    return done.rowcount
