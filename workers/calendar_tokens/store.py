"""Calendar tokens in SQL: read, kept, dropped; and the tombstones that forbid asking for one."""

from collections.abc import Iterable, Mapping, Set
from functools import cache
from typing import cast

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Delete,
    Select,
    Table,
    bindparam,
    delete,
    null,
    select,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from models.tables.base import db_now
from models.tables.calendar import CalendarToken, ErasedUser
from workers.calendar_tokens.crypto import TOKEN_SECONDS, Vault, external_id_hash, fingerprint
from workers.db.upsert import Insert, insert_for

_TOKENS = cast("Table", CalendarToken.__table__)


def read_tokens(connection: Connection, vault: Vault, keys: Set[str]) -> dict[str, str]:
    """Return the tokens that are still good, by the hash of their external_id."""
    found = connection.execute(_fresh(), {"keys": list(keys)})
    return _opened(vault, ((row.external_id_hash, row.ciphertext) for row in found))


def read_erased(connection: Connection, keys: Set[str]) -> set[str]:
    """Return which of these hashes stand on a tombstone."""
    return set(connection.scalars(_tombstoned(), {"keys": list(keys)}))


def read_both(
    connection: Connection, vault: Vault, keys: Set[str]
) -> tuple[dict[str, str], set[str]]:
    """Return the same two in one round trip."""
    found = connection.execute(_fresh_and_tombstoned(), {"keys": list(keys)}).all()
    sealed = ((row.external_id_hash, row.ciphertext) for row in found if row.ciphertext is not None)
    return _opened(vault, sealed), {row.external_id_hash for row in found if row.ciphertext is None}


def _opened(vault: Vault, sealed: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    opened = {key: vault.open(ciphertext) for key, ciphertext in sealed}
    return {key: token for key, token in opened.items() if token is not None}


def _among(column: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    return column.in_(bindparam("keys", expanding=True))


@cache
def _fresh() -> Select[str, bytes]:
    columns = (CalendarToken.external_id_hash, CalendarToken.ciphertext)
    is_good = CalendarToken.expires_at > db_now()
    return select(*columns).where(_among(CalendarToken.external_id_hash), is_good)


@cache
def _tombstoned() -> Select[str]:
    erased = select(ErasedUser.external_id_hash)
    return erased.where(_among(ErasedUser.external_id_hash), ErasedUser.lifted_at.is_(None))


@cache
def _fresh_and_tombstoned() -> CompoundSelect[str, bytes | None]:
    return union_all(_fresh(), _tombstoned().add_columns(null()))


def keep_tokens(connection: Connection, vault: Vault, minted: Mapping[str, str]) -> None:
    """Store fresh tokens, by external_id, but none of an erased user; each replaces an older."""
    rows = [
        {
            "external_id_hash": external_id_hash(external_id),
            "ciphertext": vault.seal(token),
            "fingerprint": fingerprint(token),
        }
        for external_id, token in sorted(minted.items())
    ]
    if rows:
        connection.execute(_keep(connection.dialect.name), rows)
        # After the write, as `add_tombstone` does: one of the two sees the other, in either order.
        connection.execute(_drop_tombstoned(), {"keys": [row["external_id_hash"] for row in rows]})


@cache
def _keep(dialect: str) -> Insert:
    statement = insert_for(dialect, _TOKENS)
    expires_at = db_now(TOKEN_SECONDS)
    changed = {
        "ciphertext": statement.excluded.ciphertext,
        "fingerprint": statement.excluded.fingerprint,
        "expires_at": expires_at,
    }
    # By the database's clock, as it is read: dynos' clocks may differ.
    statement = statement.values(expires_at=expires_at)
    return statement.on_conflict_do_update(index_elements=["external_id_hash"], set_=changed)


@cache
def _drop_tombstoned() -> Delete:
    return delete(CalendarToken).where(CalendarToken.external_id_hash.in_(_tombstoned()))


def drop_token(connection: Connection, external_id: str, token: str) -> None:
    """Forget a token that Recall refused, if it is still the one that is kept."""
    # Compare, then delete: another worker may have stored a fresh one meanwhile.
    connection.execute(
        delete(CalendarToken).where(
            CalendarToken.external_id_hash == external_id_hash(external_id),
            CalendarToken.fingerprint == fingerprint(token),
        )
    )
