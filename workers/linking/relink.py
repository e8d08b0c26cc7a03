"""Bots put back to be looked up again, whole: the bot, and each of its meetings."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Float, bindparam, case, func, select, update

from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from workers.privacy.tombstones import USER_ERASED

# Four a second: a thousand bots put back at once must not close Recall's bucket for the new ones.
STAGGER_SECONDS = 0.25


def relink(connection: Connection, bot_ids: Sequence[str], first_in: float = 0.0) -> int:
    """Make bots due again, the first in so many seconds; returns how many of them there are."""
    found = select(Bot.id).where(Bot.id.in_(bot_ids)).order_by(Bot.id).with_for_update()
    known = list(connection.scalars(found))
    if not known:
        return 0
    links = select(Link.meeting_id).where(Link.bot_id.in_(known), Link.ended_at.is_(None))
    # What was erased stays erased, whoever wants to look again.
    is_erased = func.coalesce(CalendarMeeting.reason, "") == USER_ERASED
    owed = update(CalendarMeeting).where(CalendarMeeting.id.in_(links), ~is_erased)
    connection.execute(owed.values(state="owed", reason="relink"))
    rows = [
        {"bot": bot_id, "wait": first_in + n * STAGGER_SECONDS} for n, bot_id in enumerate(known)
    ]
    relink_service = update(Bot).where(Bot.id == bindparam("bot")).values(_due_again())
    connection.execute(relink_service.execution_options(synchronize_session=False), rows)
    return len(known)


def _due_again() -> dict[str, Any]:
    # As a new event would, so that nothing tells a relink from it afterwards.
    failed = case((Bot.link_state == "failed", "pending"), else_=Bot.link_state)
    return {
        "due_at": db_now(bindparam("wait", type_=Float())),
        "due_seq": Bot.due_seq + 1,
        "owed_since": db_now(),
        "attempts": 0,
        "crashes": 0,
        "link_state": failed,
    }
