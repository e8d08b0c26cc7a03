"""Connect links in SQL; each can be followed once, whichever web process gets the click."""

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
# How long the consent at the provider may take, and the result stays visible.
TRIP_SECONDS = 3600.0
_SECRET_BYTES = 24


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """What a link is for: whose calendar, which platform, and where to return afterwards.

    With `replace`, it may replace a connected calendar of the same platform.
    """

    external_id: str
    platform: Platform
    return_to: str | None = None
    replace: bool = False


class ConnectLinks:
    """Stores links so that the table reveals neither a link nor its user.

    A trip is one passage through the provider's consent page, from the link to the result.
    """

    def __init__(self, engine: Engine, vault: Vault) -> None:
        self._engine = engine
        self._vault = vault

    def make(self, wanted: ConnectRequest) -> str:
        """Return the secret of a new link, valid for 5 minutes."""
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        row = {
            "link_hash": _hash(secret),
            "platform": wanted.platform,
            "sealed": self._vault.seal(json.dumps(asdict(wanted))),
        }
        with self._engine.begin() as connection:
            expires_at = db_now(LINK_SECONDS)
            connection.execute(insert(ConnectLink).values(**row, expires_at=expires_at))
        return secret

    def find(self, secret: str, platform: Platform) -> ConnectRequest | None:
        """Return the request of a valid link of this platform; None for any other."""
        return self._read(*_valid(secret, platform))

    def follow(self, secret: str, wanted: ConnectRequest) -> str | None:
        """Use up a link and return the trip's secret; None if another click was faster.

        This also lifts an erased user's tombstone, because they are reconnecting.
        """
        trip = secrets.token_urlsafe(_SECRET_BYTES)
        with self._engine.begin() as connection:
            used = connection.execute(
                update(ConnectLink)
                # One statement, so that only one of two simultaneous clicks succeeds.
                .where(*_valid(secret, wanted.platform))
                .values(used_at=db_now(), trip_hash=_hash(trip))
            )
            if not used.rowcount:
                return None
            if lift_tombstone(connection, wanted.external_id):
                details = {"platform": wanted.platform}
                audit(connection, "connect link", "lift tombstone", wanted.external_id, details)
        return trip

    def trip(self, trip: str) -> ConnectRequest | None:
        """Return the request of a current trip; None if unknown or older than an hour."""
        is_it = ConnectLink.trip_hash == _hash(trip)
        is_fresh = ConnectLink.used_at > db_now(-TRIP_SECONDS)
        return self._read(is_it, is_fresh)

    def _read(self, *which: ColumnElement[bool]) -> ConnectRequest | None:
        with self._engine.begin() as connection:
            sealed = connection.scalar(select(ConnectLink.sealed).where(*which))
        text = self._vault.open(sealed) if sealed is not None else None
        return ConnectRequest(**json.loads(text)) if text is not None else None


def _valid(secret: str, platform: Platform) -> tuple[ColumnElement[bool], ...]:
    return (
        ConnectLink.link_hash == _hash(secret),
        ConnectLink.platform == platform,
        ConnectLink.used_at.is_(None),
        ConnectLink.expires_at > db_now(),
    )


def _hash(secret: str) -> str:
    # 24 random bytes cannot be guessed from their hash, so no salt is needed.
    return hashlib.sha256(secret.encode()).hexdigest()
