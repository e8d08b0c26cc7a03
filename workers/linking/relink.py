"""Makes bots due again: the bot and all of its meetings are fetched anew."""

from collections.abc import Sequence

from sqlalchemy import Connection, Float, bindparam, func, select, update

from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from workers.linking.apply_deliveries import due_again
from workers.outbox.links import watch_links
from workers.privacy.tombstones import USER_ERASED

# Four a second, so that relinking a thousand bots leaves room in the rate limit for new ones.
STAGGER_SECONDS = 0.25


def relink(connection: Connection, bot_ids: Sequence[str], first_in: float = 0.0) -> int:
    """Make bots due again, the first in so many seconds; returns how many of them there are."""
    found = select(Bot.id).where(Bot.id.in_(bot_ids)).order_by(Bot.id).with_for_update()
    known = list(connection.scalars(found))
    if not known:
        return 0
    links = select(Link.meeting_id).where(Link.bot_id.in_(known), Link.ended_at.is_(None))
    meetings = sorted(set(connection.scalars(links)))
    with watch_links(connection, bot_ids=known, meeting_ids=meetings):
        # Meetings of erased users are not fetched again.
        is_erased = func.coalesce(CalendarMeeting.reason, "") == USER_ERASED
        owed = update(CalendarMeeting).where(CalendarMeeting.id.in_(meetings), ~is_erased)
        connection.execute(owed.values(state="owed", reason="relink"))
        _owe(connection, known, first_in)
    return len(known)


def _owe(connection: Connection, bot_ids: Sequence[str], first_in: float) -> None:
    rows = [{"bot": bot, "wait": first_in + n * STAGGER_SECONDS} for n, bot in enumerate(bot_ids)]
    # The same columns as a new event, and so the same path.
    columns = due_again(db_now(bindparam("wait", type_=Float())))
    again = update(Bot).where(Bot.id == bindparam("bot"))
    again = again.values({**columns, "due_seq": Bot.due_seq + 1})
    connection.execute(again.execution_options(synchronize_session=False), rows)
