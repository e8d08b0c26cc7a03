"""Resolves missed meetings whose bot turns out to have recorded."""

from collections.abc import Collection

from sqlalchemy import Connection, select, update

from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.link import Link
from models.tables.missed_meeting import MissedMeeting


def resolve_recorded(connection: Connection, bot_ids: Collection[str]) -> int:
    """Resolve the missed meetings of those of these bots that recorded; returns how many.

    Call it after writing a bot's outcome or its links.
    """
    if not bot_ids:
        return 0
    is_open = MissedMeeting.resolved_at.is_(None)
    recorded = select(Bot.id).where(Bot.id.in_(bot_ids), Bot.recorded.is_(True))
    named = select(MissedMeeting.meeting_id).where(MissedMeeting.bot_id.in_(recorded), is_open)
    # A meeting that was judged without a bot: its bot came to be known later.
    linked = (
        select(MissedMeeting.meeting_id)
        .join(Link, Link.meeting_id == MissedMeeting.meeting_id)
        .where(Link.bot_id.in_(recorded), is_open)
        # A bot of before a reschedule served another time of the meeting.
        .where(Link.seen_start < MissedMeeting.end_time, Link.seen_end > MissedMeeting.start_time)
    )
    return resolve(connection, {*connection.scalars(named), *connection.scalars(linked)})


def resolve(connection: Connection, meeting_ids: Collection[str]) -> int:
    """Resolve these meetings, as far as they are missed; returns how many were."""
    if not meeting_ids:
        return 0
    missed = update(MissedMeeting).where(MissedMeeting.resolved_at.is_(None))
    missed = missed.where(MissedMeeting.meeting_id.in_(sorted(meeting_ids)))
    return connection.execute(missed.values(resolved_at=db_now())).rowcount
