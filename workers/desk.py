"""The token desk: link threads ask, the drain's own thread answers, since it alone speaks SQL."""

import queue
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from workers.errors import Endpoint, Fault, RecallError
from workers.token_store import drop_token, keep_tokens, read_erased, read_tokens
from workers.tokens import UserErasedError, Vault, external_id_hash


@dataclass(frozen=True, slots=True)
class Reply:
    """What the desk says: a token, or None for "mint it", or that the user is erased."""

    token: str | None = None
    is_erased: bool = False


@dataclass(frozen=True, slots=True)
class TokenAsked:
    """A thread waits for a token."""

    external_id: str
    reply: "queue.SimpleQueue[Reply]" = field(default_factory=queue.SimpleQueue)


@dataclass(frozen=True, slots=True)
class TokenKept:
    """A thread has minted, or failed to (None)."""

    external_id: str
    token: str | None


@dataclass(frozen=True, slots=True)
class TokenDropped:
    """Recall refused this token."""

    external_id: str
    token: str


TokenMessage = TokenAsked | TokenKept | TokenDropped


class DeskTokens:
    """The link threads' side: `Tokens` by messages to the desk."""

    def __init__(self, inbox: "queue.SimpleQueue[object]", until: float) -> None:
        self._inbox = inbox
        self._until = until

    def get(self, external_id: str) -> str | None:
        """Return a token, or None: mint it. Waits while another thread mints the same."""
        asked = TokenAsked(external_id)
        self._inbox.put(asked)
        try:
            reply = asked.reply.get(timeout=max(0.0, self._until - time.monotonic()))
        except queue.Empty:
            # The drain ended while another thread minted: nobody's fault, and no attempt.
            raise RecallError(Fault.CUT, Endpoint.AUTHENTICATE) from None
        if reply.is_erased:
            raise UserErasedError
        return reply.token

    def put(self, external_id: str, token: str | None) -> None:
        """Hand in what was minted."""
        self._inbox.put(TokenKept(external_id, token))

    def drop(self, external_id: str, token: str) -> None:
        """Have a refused token forgotten."""
        self._inbox.put(TokenDropped(external_id, token))


class TokenDesk:
    """The drain's side: what is cached, who mints, who waits for it."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._cached: dict[str, str] = {}
        self._waiting: dict[str, deque[TokenAsked]] = {}

    def handle(self, connection: Connection, messages: Sequence[TokenMessage]) -> None:
        """Answer what can be answered; each thread that asked gets one reply, now or later."""
        # Refused tokens first: an asker in the same turn must not get one of them.
        for dropped in (m for m in messages if isinstance(m, TokenDropped)):
            self._drop(connection, dropped)
        self._keep(connection, [m for m in messages if isinstance(m, TokenKept)])
        self._answer(connection, [m for m in messages if isinstance(m, TokenAsked)])

    def _drop(self, connection: Connection, dropped: TokenDropped) -> None:
        key = external_id_hash(dropped.external_id)
        if self._cached.get(key) == dropped.token:
            del self._cached[key]
        drop_token(connection, dropped.external_id, dropped.token)

    def _keep(self, connection: Connection, kept: Sequence[TokenKept]) -> None:
        minted = {k.external_id: k.token for k in kept if k.token is not None}
        keep_tokens(connection, self._vault, minted)
        for message in kept:
            key = external_id_hash(message.external_id)
            waiting = self._waiting.pop(key, deque())
            if message.token is not None:
                self._cached[key] = message.token
                # They all wanted this one.
                for asked in waiting:
                    asked.reply.put(Reply(message.token))
            elif waiting:
                # The minting failed: the next in line tries, the others go on waiting.
                waiting.popleft().reply.put(Reply())
                self._waiting[key] = waiting

    def _answer(self, connection: Connection, asked: Sequence[TokenAsked]) -> None:
        keys = {external_id_hash(a.external_id) for a in asked} - self._cached.keys()
        erased = self._look_up(connection, keys)
        for message in asked:
            key = external_id_hash(message.external_id)
            if key in erased:
                message.reply.put(Reply(is_erased=True))
            elif key in self._cached:
                message.reply.put(Reply(self._cached[key]))
            # Somebody is minting it: one token a user, not one a thread.
            elif key in self._waiting:
                self._waiting[key].append(message)
            else:
                self._waiting[key] = deque()
                message.reply.put(Reply())

    def _look_up(self, connection: Connection, keys: set[str]) -> set[str]:
        if not keys:
            return set()
        self._cached |= read_tokens(connection, self._vault, keys)
        return read_erased(connection, keys)
