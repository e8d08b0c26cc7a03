"""Acting as a calendar user: the cached token, a fresh one where Recall refuses it."""

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
    """One user at a time, over a client and short transactions; none is open during a call."""

    def __init__(self, engine: Engine, vault: Vault, client: CalendarClient) -> None:
        self._engine = engine
        self._vault = vault
        self._client = client

    def act(self, external_id: str, work: Callable[[UserToken], T]) -> T:
        """Do `work` with the user's token; once more with a fresh one where it is refused.

        Asking a token creates an unknown user; UserErasedError where that is forbidden.
        """
        token = self.token(external_id)
        try:
            return work(token)
        except RecallError as error:
            if error.fault is not Fault.TOKEN_REFUSED:
                raise
        self._drop(token)
        return work(self.token(external_id))

    def proved(self, external_id: str) -> UserToken:
        """Return a token that Recall takes now: a cached one may be a deleted user's.

        What else goes wrong with Recall is no reason to hold back a token that was good.
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
        """Return the cached token, or mint one; UserErasedError for an erased user."""
        key = external_id_hash(external_id)
        with self._engine.begin() as connection:
            refuse_erased(connection, external_id)
            cached = read_tokens(connection, self._vault, {key}).get(key)
        return self.mint(external_id) if cached is None else UserToken(external_id, cached)

    def mint(self, external_id: str) -> UserToken:
        """Ask a fresh token, whatever is cached and whoever was erased, and keep it."""
        with self._engine.begin() as connection:
            open_for = read_workspace(connection).open_for
        if open_for:
            # The workers found the key refused: asking again would only count against us.
            raise RecallError(Fault.HELD, Endpoint.AUTHENTICATE, retry_after=open_for)
        token = self._client.authenticate(external_id)
        with self._engine.begin() as connection:
            keep_tokens(connection, self._vault, {external_id: token.token})
        return token

    def _drop(self, token: UserToken) -> None:
        with self._engine.begin() as connection:
            drop_token(connection, token.external_id, token.token)


def is_known(connection: Connection, external_id: str) -> bool:
    """Whether this user was ever seen here: a token for an unknown one would make them."""
    seen = select(CalendarUser.id).where(CalendarUser.external_id == external_id)
    held = select(CalendarToken.fingerprint).where(
        CalendarToken.external_id_hash == external_id_hash(external_id)
    )
    return bool(connection.scalar(select(seen.exists() | held.exists())))
