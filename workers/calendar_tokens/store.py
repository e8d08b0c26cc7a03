"""Calendar tokens in SQL: read, stored, deleted."""

from collections.abc import Mapping, Set
from functools import cache
from typing import cast

from sqlalchemy import Connection, Select, Table, bindparam, delete, select

from models.tables.base import db_now
from models.tables.calendar import CalendarToken
from workers.calendar_tokens.crypto import TOKEN_SECONDS, Vault, fingerprint
from workers.db.upsert import Insert, insert_for
from workers.privacy.tombstones import external_id_hash, read_tombstones

_TOKENS = cast("Table", CalendarToken.__table__)


def read_tokens(connection: Connection, vault: Vault, keys: Set[str]) -> dict[str, str]:
    """Return the tokens that are still valid, by the hash of their external_id."""
    if not keys:
        return {}
    found = connection.execute(_fresh(), {"keys": list(keys)})
    opened = {row.external_id_hash: vault.open(row.ciphertext) for row in found}
    return {key: token for key, token in opened.items() if token is not None}


@cache
def _fresh() -> Select[str, bytes]:
    columns = (CalendarToken.external_id_hash, CalendarToken.ciphertext)
    is_among = CalendarToken.external_id_hash.in_(bindparam("keys", expanding=True))
    return select(*columns).where(is_among, CalendarToken.expires_at > db_now())


def keep_tokens(connection: Connection, vault: Vault, minted: Mapping[str, str]) -> None:
    """Store new tokens, by external_id, replacing older ones; none of an erased user."""
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
        # After the write, as in `add_tombstone`: whichever commits last sees the other.
        erased = read_tombstones(connection, [external_id_hash(name) for name in minted])
        if erased:
            kept = CalendarToken.external_id_hash
            connection.execute(delete(CalendarToken).where(kept.in_(erased)))


@cache
def _keep(dialect: str) -> Insert:
    statement = insert_for(dialect, _TOKENS)
    expires_at = db_now(TOKEN_SECONDS)
    changed = {
        "ciphertext": statement.excluded.ciphertext,
        "fingerprint": statement.excluded.fingerprint,
        "expires_at": expires_at,
    }
    # By the database's clock, which also decides what has expired: dynos' clocks may differ.
    statement = statement.values(expires_at=expires_at)
    return statement.on_conflict_do_update(index_elements=["external_id_hash"], set_=changed)


def drop_token(connection: Connection, external_id: str, token: str) -> None:
    """Delete a token that Recall refused, if it is still the stored one."""
    # Another worker may have stored a new one meanwhile.
    connection.execute(
        delete(CalendarToken).where(
            CalendarToken.external_id_hash == external_id_hash(external_id),
            CalendarToken.fingerprint == fingerprint(token),
        )
    )
