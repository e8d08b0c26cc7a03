"""Keeps what List Calendar Users says: addresses, connections, who is there and who is gone."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, func, or_, select, update

from models.core.sanitize import storable
from models.tables.base import database_time, db_now
from models.tables.calendar import CalendarUser
from models.tables.link import Link
from workers.calendars.findings import end_findings
from workers.calendars.user_events import watch_users
from workers.db.transactions import in_transaction
from workers.db.upsert import insert_into
from workers.privacy.erase import batches
from workers.privacy.tombstones import erased_among, is_pseudonym, pseudonyms
from workers.recall_api.calendar_schemas import CalendarUser as ListedUser
from workers.recall_api.paging import is_too_short
from workers.recall_api.schemas import EXTERNAL_ID_LIMIT

# Users who were linked this long ago or later must be on a list that is to be believed.
RECENT_SECONDS = 7 * 86_400.0
_USERS = cast("Table", CalendarUser.__table__)
_CONNECTED = ("google_connected", "microsoft_connected")

Row = dict[str, Any]


def time_of_list(engine: Engine) -> datetime:
    """Return the database's time, to be read before a list is requested."""
    with engine.begin() as connection:
        return database_time(connection)


def names_on(users: Iterable[ListedUser]) -> dict[str, ListedUser]:
    """Return the users by external_id, shortened as in the links, so that the two compare."""
    return {
        storable(user.external_id, EXTERNAL_ID_LIMIT): user for user in users if user.external_id
    }


def recent_names(connection: Connection) -> set[str]:
    """Return the external_ids that were linked in the last seven days."""
    # By linked_at, which has an index, and is close to the time of the meeting.
    since = db_now(-RECENT_SECONDS)
    recent = select(Link.external_id).distinct().where(Link.linked_at >= since)
    return {name for name in connection.scalars(recent) if name and not is_pseudonym(name)}


def is_believable(connection: Connection, users: Sequence[ListedUser]) -> bool:
    """Whether a list may be taken for the whole: most of the users we know are on it."""
    recent = recent_names(connection)
    if is_too_short(len(recent & names_on(users).keys()), len(recent)):
        return False
    known = _present(connection)
    return not is_too_short(len(known & {user.id for user in users}), len(known))


def keep_users(engine: Engine, users: Sequence[ListedUser], at: datetime) -> None:
    """Store what a list of `at` says of the users on it; of erased users nothing is stored."""
    for part in batches(users):
        in_transaction(engine, partial(write_part, users=part, at=at))


def end_absent(connection: Connection, users: Sequence[ListedUser], at: datetime) -> None:
    """Mark who is not on the whole list of `at` as gone, and end what was found of them."""
    absent = sorted(_present(connection, at) - {user.id for user in users})
    for part in batches(absent):
        mark_gone(connection, CalendarUser.id.in_(part))
    end_findings(connection, {user.id for user in users if user.is_connected})


def mark_gone(connection: Connection, condition: Any) -> None:
    """Say of users that Recall does not have them any more."""
    is_present = CalendarUser.gone_at.is_(None)
    ids = list(connection.scalars(select(CalendarUser.id).where(condition, is_present)))
    with watch_users(connection, ids):
        present = update(CalendarUser).where(CalendarUser.id.in_(ids), is_present)
        connection.execute(present.values(gone_at=db_now()))


def _present(connection: Connection, before: datetime | None = None) -> set[str]:
    seen_at = CalendarUser.seen_at
    # A user whom a later read has seen was created after this list was read.
    condition = seen_at.is_not(None) if before is None else seen_at.is_(None) | (seen_at < before)
    present = select(CalendarUser.id).where(CalendarUser.gone_at.is_(None), condition)
    return set(connection.scalars(present))


def write_part(connection: Connection, users: Collection[ListedUser], at: datetime) -> None:
    """Store what a list of `at` says of some of its users, in the caller's transaction."""
    # Read in this transaction: an erase waits for it, or is seen by it.
    erased = erased_among(connection, (user.external_id for user in users))
    rows = [_row(user, at) for user in users if not _is_erased(user.external_id, erased)]
    if not rows:
        return
    statement = insert_into(connection, _USERS)
    new = statement.excluded
    changed: Row = {name: new[name] for name in (*_CONNECTED, "seen_at", "gone_at")}
    for column in ("external_id", "email"):
        changed[column] = func.coalesce(new[column], getattr(CalendarUser, column))
    # A list that was read earlier must not replace what a later one said.
    is_news = or_(CalendarUser.seen_at.is_(None), CalendarUser.seen_at <= new.seen_at)
    name = CalendarUser.external_id
    # Who was erased stays so under another external_id as well.
    is_held = or_(name.is_(None), name.not_in(pseudonyms()))
    statement = statement.on_conflict_do_update(
        index_elements=["id"], set_=changed, where=is_news & is_held
    )
    rows.sort(key=lambda row: str(row["id"]))
    _add_unknown(connection, rows)
    with watch_users(connection, [row["id"] for row in rows], at):
        connection.execute(statement, rows)


def _add_unknown(connection: Connection, rows: Sequence[Row]) -> None:
    # Rows first: what is not there cannot be locked, and two writers may bring the same user.
    blank = dict.fromkeys(_CONNECTED, False)
    new = insert_into(connection, _USERS).on_conflict_do_nothing(index_elements=["id"])
    connection.execute(new, [{"id": row["id"], **blank} for row in rows])


def _is_erased(external_id: str | None, erased: Any) -> bool:
    # Of a deleted user the name stays, and what Recall still says of them counts.
    return external_id is not None and erased.get(external_id, external_id) != external_id


def _row(user: ListedUser, at: datetime) -> Row:
    connected = {connection.platform: connection.connected for connection in user.connections}
    name = user.external_id
    return {
        "id": user.id,
        "external_id": None if name is None else storable(name, EXTERNAL_ID_LIMIT),
        "email": _address(user),
        "google_connected": connected.get("google", False),
        "microsoft_connected": connected.get("microsoft", False),
        "seen_at": at,
        "gone_at": None,
    }


def _address(user: ListedUser) -> str | None:
    # Both platforms are always listed: the address of a connected one says more.
    ordered = sorted(user.connections, key=lambda one: (not one.connected, one.platform))
    return next((one.email for one in ordered if one.email), None)
