"""Acts as a calendar user: with the cached token, or a new one if Recall refuses it."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine, select

from models.tables.calendar import CalendarToken, CalendarUser
from workers.calendar_tokens.crypto import Vault
from workers.calendar_tokens.store import drop_token, keep_tokens, read_tokens
from workers.privacy.tombstones import external_id_hash, refuse_erased
from workers.recall_api.calendar_client import CalendarClient, UserToken
from workers.recall_api.circuit import read_workspace
from workers.recall_api.errors import Endpoint, Fault, RecallError

T = TypeVar("T")


class CalendarUsers:
    """Tokens of calendar users, for one caller; no transaction is open during a call."""

    def __init__(self, engine: Engine, vault: Vault, client: CalendarClient) -> None:
        self._engine = engine
        self._vault = vault
        self._client = client

    def act(self, external_id: str, work: Callable[[UserToken], T]) -> T:
        """Do `work` with the user's token; once more with a new one if that is refused.

        Requesting a token creates an unknown user. UserErasedError for an erased one.
        """
        token = self.token(external_id)
        try:
            return work(token)
        except RecallError as error:
            if error.fault is not Fault.TOKEN_REFUSED:
                raise
        self._drop(token)
        return work(self.token(external_id))

    def checked_token(self, external_id: str) -> UserToken:
        """Return a token that Recall accepts now: a cached one may be a deleted user's.

        Any other failure of Recall returns the cached token.
        """
        token = self.token(external_id)
        try:
            self._client.user(token)
        except RecallError as error:
            if error.fault is Fault.TOKEN_REFUSED:
                self._drop(token)
                return self.token(external_id)
        return token

    def token(self, external_id: str) -> UserToken:
        """Return the cached token, or request one; UserErasedError for an erased user."""
        key = external_id_hash(external_id)
        with self._engine.begin() as connection:
            refuse_erased(connection, external_id)
            cached = read_tokens(connection, self._vault, {key}).get(key)
        return self.mint(external_id) if cached is None else UserToken(external_id, cached)

    def mint(self, external_id: str) -> UserToken:
        """Request and store a new token, even for an erased user."""
        with self._engine.begin() as connection:
            open_for = read_workspace(connection).open_for
        if open_for:
            # Recall refuses the workspace, and may count further calls against us.
            raise RecallError(Fault.HELD, Endpoint.AUTHENTICATE, retry_after=open_for)
        token = self._client.authenticate(external_id)
        with self._engine.begin() as connection:
            keep_tokens(connection, self._vault, {external_id: token.token})
        return token

    def _drop(self, token: UserToken) -> None:
        with self._engine.begin() as connection:
            drop_token(connection, token.external_id, token.token)


def is_known(connection: Connection, external_id: str) -> bool:
    """Whether this user was ever seen here: a token for an unknown user would create them."""
    seen = select(CalendarUser.id).where(CalendarUser.external_id == external_id)
    held = select(CalendarToken.fingerprint).where(
        CalendarToken.external_id_hash == external_id_hash(external_id)
    )
    return bool(connection.scalar(select(seen.exists() | held.exists())))
