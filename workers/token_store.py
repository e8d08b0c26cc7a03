"""Calendar tokens in SQL: read, kept, dropped; and the tombstones that forbid asking for one."""

from collections.abc import Mapping, Set
from typing import cast

from sqlalchemy import Connection, Table, delete, select, update

from models.base import db_now
from models.calendar import CalendarToken, ErasedUser
from workers.tokens import TOKEN_SECONDS, Vault, external_id_hash, fingerprint
from workers.upsert import insert_into

_TOKENS = cast("Table", CalendarToken.__table__)


def read_tokens(connection: Connection, vault: Vault, keys: Set[str]) -> dict[str, str]:
    """Return the tokens that are still good, by the hash of their external_id."""
    fresh = select(CalendarToken.external_id_hash, CalendarToken.ciphertext).where(
        CalendarToken.external_id_hash.in_(keys), CalendarToken.expires_at > db_now()
    )
    opened = {row.external_id_hash: vault.open(row.ciphertext) for row in connection.execute(fresh)}
    return {key: token for key, token in opened.items() if token is not None}


def read_erased(connection: Connection, keys: Set[str]) -> set[str]:
    """Return which of these hashes stand on a tombstone."""
    tombs = select(ErasedUser.external_id_hash).where(
        ErasedUser.external_id_hash.in_(keys), ErasedUser.lifted_at.is_(None)
    )
    return set(connection.scalars(tombs))


def keep_tokens(connection: Connection, vault: Vault, minted: Mapping[str, str]) -> None:
    """Store fresh tokens, by external_id; each replaces the one that is there."""
    rows = [
        {
            "external_id_hash": external_id_hash(external_id),
            "ciphertext": vault.seal(token),
            "fingerprint": fingerprint(token),
        }
        for external_id, token in sorted(minted.items())
    ]
    if rows:
        statement = insert_into(connection, _TOKENS)
        expires_at = db_now(TOKEN_SECONDS)
        changed = {
            "ciphertext": statement.excluded.ciphertext,
            "fingerprint": statement.excluded.fingerprint,
            "expires_at": expires_at,
        }
        # By the database's clock, as it is read: dynos' clocks may differ.
        statement = statement.values(expires_at=expires_at)
        key = ["external_id_hash"]
        connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), rows)


def drop_token(connection: Connection, external_id: str, token: str) -> None:
    """Forget a token that Recall refused, if it is still the one that is kept."""
    # Compare, then delete: another worker may have stored a fresh one meanwhile.
    connection.execute(
        delete(CalendarToken).where(
            CalendarToken.external_id_hash == external_id_hash(external_id),
            CalendarToken.fingerprint == fingerprint(token),
        )
    )


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
