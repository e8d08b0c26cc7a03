"""Connect links in SQL: made, looked up, followed once by whichever web process is first."""

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, Engine, insert, select, update

from models.settings.calendar import Platform
from models.tables.base import db_now
from models.tables.connect_link import ConnectLink
from workers.calendar_tokens.crypto import Vault
from workers.db.audit import audit
from workers.privacy.tombstones import lift_tombstone

LINK_SECONDS = 300.0
# How long somebody may take at the provider's page, and look at the result.
TRIP_SECONDS = 3600.0
_SECRET_BYTES = 24


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """What a link was made for: whose calendar, of which platform, and where to go afterwards.

    `replace` says that a calendar of the same platform may be connected over the former one.
    """

    external_id: str
    platform: Platform
    return_to: str | None = None
    replace: bool = False


class ConnectLinks:
    """The links; whoever reads the table learns neither a link nor whom it is for."""

    def __init__(self, engine: Engine, vault: Vault) -> None:
        self._engine = engine
        self._vault = vault

    def make(self, errand: ConnectRequest) -> str:
        """Return the secret of a fresh link, good for 5 minutes."""
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        row = {
            "link_hash": _hash(secret),
            "platform": errand.platform,
            "sealed": self._vault.seal(json.dumps(asdict(errand))),
        }
        with self._engine.begin() as connection:
            expires_at = db_now(LINK_SECONDS)
            connection.execute(insert(ConnectLink).values(**row, expires_at=expires_at))
        return secret

    def errand(self, secret: str, platform: Platform) -> ConnectRequest | None:
        """Return what an unused link of this platform is for; None for any other."""
        return self._read(*_good(secret, platform))

    def follow(self, secret: str, errand: ConnectRequest) -> str | None:
        """Use a link up and return the name of the trip; None where somebody was faster.

        An erased user's tombstone is lifted with it: this is what connecting anew means.
        """
        trip = secrets.token_urlsafe(_SECRET_BYTES)
        with self._engine.begin() as connection:
            used = connection.execute(
                update(ConnectLink)
                # One statement decides, so that of two clicks at once one finds no row.
                .where(*_good(secret, errand.platform))
                .values(used_at=db_now(), trip_hash=_hash(trip))
            )
            if not used.rowcount:
                return None
            if lift_tombstone(connection, errand.external_id):
                details = {"platform": errand.platform}
                audit(connection, "connect link", "lift tombstone", errand.external_id, details)
        return trip

    def trip(self, trip: str) -> ConnectRequest | None:
        """Return what a trip under way is for; None for an unknown one, or after an hour."""
        is_it = ConnectLink.trip_hash == _hash(trip)
        is_fresh = ConnectLink.used_at > db_now(-TRIP_SECONDS)
        return self._read(is_it, is_fresh)

    def _read(self, *which: ColumnElement[bool]) -> ConnectRequest | None:
        with self._engine.begin() as connection:
            sealed = connection.scalar(select(ConnectLink.sealed).where(*which))
        text = self._vault.open(sealed) if sealed is not None else None
        return ConnectRequest(**json.loads(text)) if text is not None else None


def _good(secret: str, platform: Platform) -> tuple[ColumnElement[bool], ...]:
    return (
        ConnectLink.link_hash == _hash(secret),
        ConnectLink.platform == platform,
        ConnectLink.used_at.is_(None),
        ConnectLink.expires_at > db_now(),
    )


def _hash(secret: str) -> str:
    # 24 random bytes cannot be guessed from their hash, so it needs no salt.
    return hashlib.sha256(secret.encode()).hexdigest()
