"""Erased users: the tombstone that forbids asking their token, and the name their rows go by."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    case,
    delete,
    func,
    literal,
    null,
    select,
    text,
    update,
)

from models.tables.base import db_now
from models.tables.calendar import CalendarToken, ErasedUser
from models.tables.link import Link
from workers.calendar_tokens.crypto import external_id_hash
from workers.db.upsert import insert_into

USER_ERASED = "user_erased"
# Why a tombstone stands: the person is forgotten here, or only the calendar user is gone there.
ERASED, DELETED = "erased", "deleted"
_PREFIX = "erased-user:"
_LENGTH = 24
_TOMBS = cast("Table", ErasedUser.__table__)


def pseudonym(external_id: str) -> str:
    """Return what stands for an erased external_id: rows of one person still count as one."""
    return _PREFIX + external_id_hash(external_id)[:_LENGTH]


def is_pseudonym(external_id: str) -> bool:
    """Whether this is no external_id but what stands for one: a token for it is never asked."""
    return external_id.startswith(_PREFIX)


def erased_among(connection: Connection, external_ids: Iterable[str | None]) -> Mapping[str, str]:
    """Return which of these users are erased or deleted, each with the name its rows go by."""
    by_hash = {external_id_hash(name): name for name in external_ids if name}
    if not by_hash:
        return {}
    tombs = connection.execute(_tombs(), {"keys": list(by_hash)})
    found = {by_hash[row.external_id_hash]: row.reason for row in tombs}
    return {name: name if why == DELETED else pseudonym(name) for name, why in found.items()}


@cache
def _tombs() -> Select[str, str]:
    is_among = ErasedUser.external_id_hash.in_(bindparam("keys", expanding=True))
    tombs = select(ErasedUser.external_id_hash, ErasedUser.reason)
    return tombs.where(is_among, ErasedUser.lifted_at.is_(None))


def is_erased() -> ColumnElement[bool]:
    """Return the condition of a link whose user is forgotten."""
    # NULL starts with nothing, and must not make a whole condition unknown.
    return case((Link.external_id.startswith(_PREFIX), True), else_=False)


def erased_names() -> Select[str]:
    """Return the selection of all names that erased users' rows go by."""
    name = literal(_PREFIX).concat(func.substr(ErasedUser.external_id_hash, 1, _LENGTH))
    is_erased_now = (ErasedUser.reason == ERASED) & ErasedUser.lifted_at.is_(None)
    return select(name).where(is_erased_now)


def add_tombstone(connection: Connection, external_id: str, reason: str) -> None:
    """Write the tombstone and drop the cached token, once no settle is under way that began before.

    The lock makes later settles wait for the commit: each of them knows, or has written already.
    """
    # Tokens first, as drains have it: who takes locks in two orders waits in a ring.
    key = external_id_hash(external_id)
    drop = delete(CalendarToken).where(CalendarToken.external_id_hash == key)
    connection.execute(drop)
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE erased_users IN ACCESS EXCLUSIVE MODE"))
    statement = insert_into(connection, _TOMBS).values(external_id_hash=key, reason=reason)
    # Who is forgotten stays so when the calendar user is deleted as well.
    is_forgotten = (ErasedUser.reason == ERASED) & ErasedUser.lifted_at.is_(None)
    kept = case((is_forgotten, ErasedUser.reason), else_=reason)
    again = {"erased_at": db_now(), "reason": kept, "lifted_at": null()}
    connection.execute(
        statement.values(erased_at=db_now()).on_conflict_do_update(
            index_elements=["external_id_hash"], set_=again
        )
    )
    # Once more: one may have been minted before the lock was ours.
    connection.execute(drop)


def remove_tombstone(connection: Connection, external_id: str) -> None:
    """Take a tombstone back that was written for what then could not be done."""
    key = ErasedUser.external_id_hash == external_id_hash(external_id)
    connection.execute(delete(ErasedUser).where(key))


def lift_tombstone(connection: Connection, external_id: str) -> bool:
    """Let tokens be asked for an erased user again, since they connect anew; whether one stood."""
    lifted = connection.execute(
        update(ErasedUser)
        .where(
            ErasedUser.external_id_hash == external_id_hash(external_id),
            ErasedUser.lifted_at.is_(None),
        )
        .values(lifted_at=db_now())
    )
    return lifted.rowcount > 0
