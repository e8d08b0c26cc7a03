"""Calendar tokens for link threads: they ask by message, and the drain's thread answers.

Only the drain's thread uses SQL. One thread requests a user's token from Recall; the others wait.
"""

import queue
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from sqlalchemy import Connection

from workers.calendar_tokens.crypto import Vault
from workers.calendar_tokens.store import drop_token, keep_tokens, read_tokens
from workers.db.transactions import Writer, in_transaction
from workers.privacy.tombstones import UserErasedError, external_id_hash, read_tombstones
from workers.recall_api.errors import Endpoint, Fault, RecallError


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A thread waits for a token; the answer None has it request one from Recall."""

    external_id: str
    answer: "Future[str | None]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A thread got a token from Recall; None after a failure."""

    external_id: str
    token: str | None


@dataclass(frozen=True, slots=True)
class RefusedToken:
    """Recall refused this token."""

    external_id: str
    token: str


TokenMessage = TokenRequest | NewToken | RefusedToken
# By the hash of the external_id: stored tokens, and who is erased.
Stored = tuple[Mapping[str, str], Collection[str]]


class BrokeredTokens:
    """The link threads' side: `Tokens` by messages to the broker."""

    def __init__(self, inbox: "queue.SimpleQueue[object]", until: float) -> None:
        self._inbox = inbox
        self._until = until

    def get(self, external_id: str) -> str | None:
        """Return a token, or None: request one. Waits while another thread does."""
        request = TokenRequest(external_id)
        self._inbox.put(request)
        try:
            return request.answer.result(timeout=max(0.0, self._until - time.monotonic()))
        except TimeoutError:
            # The drain ended while another thread requested it: this counts as no attempt.
            raise RecallError(Fault.CUT, Endpoint.AUTHENTICATE) from None

    def put(self, external_id: str, token: str | None) -> None:
        """Report the token that Recall returned, or None after a failure."""
        self._inbox.put(NewToken(external_id, token))

    def drop(self, external_id: str, token: str) -> None:
        """Report a refused token."""
        self._inbox.put(RefusedToken(external_id, token))


class TokenBroker:
    """The drain's side: answers from memory or the database, and stores new tokens."""

    def __init__(self, vault: Vault, writer: Writer) -> None:
        self._vault = vault
        self._writer = writer
        self._cached: dict[str, str] = {}
        self._waiting: dict[str, deque[TokenRequest]] = {}
        # By external_id. Stored together with the next results; used from memory until then.
        self._unsaved: dict[str, str] = {}

    def serve(self, messages: Sequence[TokenMessage]) -> None:
        """Answer requests; what is not in memory is read in a transaction of its own."""
        # Refused tokens first: they must not answer a request of the same turn.
        refused = [message for message in messages if isinstance(message, RefusedToken)]
        for one in refused:
            self._forget(one)
        for message in messages:
            if isinstance(message, NewToken):
                self._keep(message)
        requests = [message for message in messages if isinstance(message, TokenRequest)]
        unknown = [request for request in requests if not self._answer(request)]
        if refused or unknown:
            # Not deferred to the next save: threads are waiting.
            stored = in_transaction(self._writer.singly, lambda c: self._read(c, refused, unknown))
            self._answer_from(stored, unknown)

    def save(self) -> None:
        """Store the new tokens."""
        if self._unsaved:
            in_transaction(self._writer, lambda c: keep_tokens(c, self._vault, self._unsaved))
            self._unsaved.clear()

    def _read(
        self,
        connection: Connection,
        refused: Sequence[RefusedToken],
        requests: Sequence[TokenRequest],
    ) -> Stored:
        for one in refused:
            drop_token(connection, one.external_id, one.token)
        keys = {external_id_hash(request.external_id) for request in requests}
        tokens = read_tokens(connection, self._vault, keys)
        # Only of the others: erasing a user deletes their token in the same transaction.
        return tokens, read_tombstones(connection, keys - tokens.keys())

    def _answer_from(self, stored: Stored, requests: Sequence[TokenRequest]) -> None:
        tokens, erased = stored
        self._cached |= tokens
        for request in requests:
            key = external_id_hash(request.external_id)
            if key in erased:
                request.answer.set_exception(UserErasedError())
            elif not self._answer(request):
                # The first to ask requests the token from Recall.
                self._waiting[key] = deque()
                request.answer.set_result(None)

    def _answer(self, request: TokenRequest) -> bool:
        key = external_id_hash(request.external_id)
        if key in self._cached:
            request.answer.set_result(self._cached[key])
        elif key in self._waiting:
            self._waiting[key].append(request)
        else:
            return False
        return True

    def _forget(self, refused: RefusedToken) -> None:
        key = external_id_hash(refused.external_id)
        if self._cached.get(key) == refused.token:
            del self._cached[key]
        if self._unsaved.get(refused.external_id) == refused.token:
            del self._unsaved[refused.external_id]

    def _keep(self, new: NewToken) -> None:
        key = external_id_hash(new.external_id)
        waiting = self._waiting.pop(key, deque())
        if new.token is not None:
            self._cached[key] = self._unsaved[new.external_id] = new.token
            for request in waiting:
                request.answer.set_result(new.token)
        elif waiting:
            # The next in line tries; the others go on waiting.
            waiting.popleft().answer.set_result(None)
            self._waiting[key] = waiting
