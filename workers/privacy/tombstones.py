"""Tombstones: who is erased, so that no token is requested for them, and their pseudonyms."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
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
    exists,
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
from workers.db.upsert import insert_into

USER_ERASED = "user_erased"
# Why there is a tombstone: the person is erased here, or the calendar user was deleted at Recall.
ERASED, DELETED = "erased", "deleted"
_PREFIX = "erased-user:"
_LENGTH = 24
_TOMBSTONES = cast("Table", ErasedUser.__table__)
_STANDS = ErasedUser.lifted_at.is_(None)


class UserErasedError(Exception):
    """The user is erased: requesting a token would create them again at Recall."""


def external_id_hash(external_id: str) -> str:
    """Return the key of a user's token and tombstone; it outlives a rotation of the API key."""
    # Unkeyed, or a rotated API key would no longer find the tombstone, and the user would be back.
    # A lone surrogate cannot be encoded as UTF-8. No token is requested for such an id, but it is
    # hashed like any other.
    named = external_id.encode(errors="surrogatepass")
    return hashlib.sha256(b"recall-links external_id\x00" + named).hexdigest()


def pseudonym(external_id: str) -> str:
    """Return the name that replaces an erased external_id: the same for all rows of a person."""
    return _PREFIX + external_id_hash(external_id)[:_LENGTH]


def is_pseudonym(external_id: str) -> bool:
    """Whether this is a pseudonym of ours: no token may be requested for it."""
    return external_id.startswith(_PREFIX)


def read_tombstones(connection: Connection, keys: Collection[str]) -> dict[str, str]:
    """Return which of these hashes have a tombstone, each with the reason."""
    if not keys:
        return {}
    found = connection.execute(_tombstones(), {"keys": list(keys)})
    return {row.external_id_hash: row.reason for row in found}


@cache
def _tombstones() -> Select[str, str]:
    is_among = ErasedUser.external_id_hash.in_(bindparam("keys", expanding=True))
    return select(ErasedUser.external_id_hash, ErasedUser.reason).where(is_among, _STANDS)


def is_erased(connection: Connection, external_id: str) -> bool:
    """Whether this user is erased or deleted."""
    return bool(read_tombstones(connection, [external_id_hash(external_id)]))


def refuse_erased(connection: Connection, external_id: str) -> None:
    """Raise UserErasedError for a user who is erased or deleted."""
    if is_erased(connection, external_id):
        raise UserErasedError


def erased_among(connection: Connection, external_ids: Iterable[str | None]) -> Mapping[str, str]:
    """Return which of these users are erased or deleted, each with the name to store for them."""
    by_hash = {external_id_hash(name): name for name in external_ids if name}
    found = read_tombstones(connection, by_hash)
    names = ((by_hash[key], reason) for key, reason in found.items())
    return {name: name if reason == DELETED else pseudonym(name) for name, reason in names}


def any_erased() -> ColumnElement[bool]:
    """Return the condition that anybody was ever erased or deleted at all."""
    # Also somebody who has reconnected since: what was erased before that stays erased.
    return exists().select_from(ErasedUser)


def has_pseudonym() -> ColumnElement[bool]:
    """Return the condition of a link whose user is erased."""
    # `case`, because external_id may be NULL: LIKE would return NULL, and so would the condition.
    return case((Link.external_id.startswith(_PREFIX), True), else_=False)


def pseudonyms() -> Select[str]:
    """Return the query of all pseudonyms in use."""
    name = literal(_PREFIX).concat(func.substr(ErasedUser.external_id_hash, 1, _LENGTH))
    return select(name).where(ErasedUser.reason == ERASED, _STANDS)


def add_tombstone(connection: Connection, external_id: str, reason: str) -> None:
    """Write the tombstone and drop the cached token, after waiting for saves that are under way.

    The lock makes later saves wait for the commit: a save either sees the tombstone or is done.
    """
    # Tokens first, as drains do: locking in two orders would deadlock.
    key = external_id_hash(external_id)
    drop = delete(CalendarToken).where(CalendarToken.external_id_hash == key)
    connection.execute(drop)
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE erased_users IN ACCESS EXCLUSIVE MODE"))
    statement = insert_into(connection, _TOMBSTONES).values(external_id_hash=key, reason=reason)
    # An erased user stays erased when the calendar user is deleted as well.
    kept = case(((ErasedUser.reason == ERASED) & _STANDS, ErasedUser.reason), else_=reason)
    again = {"erased_at": db_now(), "reason": kept, "lifted_at": null()}
    connection.execute(
        statement.values(erased_at=db_now()).on_conflict_do_update(
            index_elements=["external_id_hash"], set_=again
        )
    )
    # Again: a token may have been stored before we had the lock.
    connection.execute(drop)


def remove_tombstone(connection: Connection, external_id: str) -> None:
    """Remove the tombstone of a deletion that failed."""
    key = ErasedUser.external_id_hash == external_id_hash(external_id)
    connection.execute(delete(ErasedUser).where(key))


def lift_tombstone(connection: Connection, external_id: str) -> bool:
    """Allow tokens again for a user who reconnects; returns whether there was a tombstone."""
    theirs = ErasedUser.external_id_hash == external_id_hash(external_id)
    lifted = update(ErasedUser).where(theirs, _STANDS).values(lifted_at=db_now())
    return connection.execute(lifted).rowcount > 0
