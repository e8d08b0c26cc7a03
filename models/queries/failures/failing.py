"""Which bots are failing or in progress, and the reason that begins a bot's last error."""

from sqlalchemy import ColumnElement, and_, func, or_

from models.tables.base import db_now
from models.tables.bot import Bot

# How long a bot is due before it is overdue; the alarm of stalled work has the same.
OVERDUE_SECONDS = 300
# The states in which an error keeps a bot from its links.
FAILING_STATES = ("failed", "partial", "pending")
# The reason of a bot without a stored error.
UNKNOWN = "unknown"


def is_failing() -> ColumnElement[bool]:
    """Return the condition of a bot that failed, is partial, or has been pending for long."""
    # An index leads to these states, and most bots are linked or have no meetings.
    return and_(Bot.link_state.in_(FAILING_STATES), or_(Bot.link_state != "pending", is_late()))


def is_late() -> ColumnElement[bool]:
    """Return the condition of a bot whose look-up became due five minutes ago or earlier."""
    return Bot.owed_since <= db_now(-OVERDUE_SECONDS)


def is_in_progress() -> ColumnElement[bool]:
    """Return the condition of a bot that a worker looks up at this moment."""
    return and_(Bot.due_at <= db_now(), Bot.lease_until > db_now())


def has_reason(reason: str) -> ColumnElement[bool]:
    """Return the condition of a bot whose last error begins with this reason."""
    if reason == UNKNOWN:
        return Bot.last_error.is_(None)
    # Both databases have substr, and LIKE of SQLite ignores case.
    begin = func.substr(Bot.last_error, 1, len(reason) + 1)
    return begin.in_([reason, f"{reason}:"])


def reason_of(dialect: str) -> ColumnElement[str]:
    """Return the reason as a column: what follows the colon may quote Recall."""
    if dialect == "sqlite":
        colon = func.instr(Bot.last_error.concat(":"), ":")
        found = func.substr(Bot.last_error, 1, colon - 1)
    else:
        found = func.split_part(Bot.last_error, ":", 1)
    return func.coalesce(found, UNKNOWN)
