"""Makes bots due again: the bot and all of its meetings are fetched anew."""

from collections.abc import Sequence

from sqlalchemy import Connection, Float, bindparam, func, insert, select, update

from models.queries.views import RELINK_BATCH_LOG
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from models.tables.relink_batch import RelinkBatch, RelinkBatchBot
from workers.linking.apply_deliveries import due_again
from workers.outbox.links import watch_links
from workers.privacy.tombstones import USER_ERASED

# Four a second, so that relinking a thousand bots leaves room in the rate limit for new ones.
STAGGER_SECONDS = 0.25


def open_batch(connection: Connection, actor: str) -> int:
    """Open a batch of bots to retry; returns its number."""
    opened = insert(RelinkBatch).values(at=db_now(), actor=actor).returning(RelinkBatch.id)
    return connection.scalars(opened).one()


def relink(
    connection: Connection,
    bot_ids: Sequence[str],
    first_in: float = 0.0,
    batch: int | None = None,
) -> int:
    """Make bots due again, the first in so many seconds; returns how many of them there are."""
    found = select(Bot.id).where(Bot.id.in_(bot_ids)).order_by(Bot.id).with_for_update()
    known = list(connection.scalars(found))
    if not known:
        return 0
    if batch is not None:
        _join(connection, batch, known)
    links = select(Link.meeting_id).where(Link.bot_id.in_(known), Link.ended_at.is_(None))
    meetings = sorted(set(connection.scalars(links)))
    with watch_links(connection, bot_ids=known, meeting_ids=meetings):
        # Meetings of erased users are not fetched again.
        is_erased = func.coalesce(CalendarMeeting.reason, "") == USER_ERASED
        owed = update(CalendarMeeting).where(CalendarMeeting.id.in_(meetings), ~is_erased)
        connection.execute(owed.values(state="owed", reason="relink"))
        _owe(connection, known, first_in)
    return len(known)


def _join(connection: Connection, batch: int, bot_ids: Sequence[str]) -> None:
    # What came of these bots in an earlier batch is kept, before this one changes them.
    log, member = RELINK_BATCH_LOG.c, RelinkBatchBot
    is_same = (log.batch_id == member.batch_id) & (log.bot_id == member.bot_id)
    kept = {
        "outcome": select(log.outcome).where(is_same).scalar_subquery(),
        "reason": select(log.reason).where(is_same).scalar_subquery(),
    }
    earlier = update(member).where(member.bot_id.in_(bot_ids), member.outcome.is_(None))
    connection.execute(earlier.values(kept).execution_options(synchronize_session=False))
    rows = [{"batch_id": batch, "bot_id": bot_id} for bot_id in bot_ids]
    connection.execute(insert(member), rows)
    grown = update(RelinkBatch).where(RelinkBatch.id == batch)
    connection.execute(grown.values(bots=RelinkBatch.bots + len(rows)))


def _owe(connection: Connection, bot_ids: Sequence[str], first_in: float) -> None:
    rows = [{"bot": bot, "wait": first_in + n * STAGGER_SECONDS} for n, bot in enumerate(bot_ids)]
    # The same columns as a new event, and so the same path.
    columns = due_again(db_now(bindparam("wait", type_=Float())))
    again = update(Bot).where(Bot.id == bindparam("bot"))
    again = again.values({**columns, "due_seq": Bot.due_seq + 1})
    connection.execute(again.execution_options(synchronize_session=False), rows)
