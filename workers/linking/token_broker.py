"""The token desk: link threads ask, the drain's own thread answers, since it alone speaks SQL."""

import queue
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from workers.calendar_tokens.crypto import Vault
from workers.calendar_tokens.store import drop_token, keep_tokens, read_tokens
from workers.privacy.tombstones import UserErasedError, external_id_hash, read_tombstones
from workers.recall_api.errors import Endpoint, Fault, RecallError


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


class BrokeredTokens:
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


@dataclass(frozen=True, slots=True)
class Question:
    """What only the database can answer: who asked for a token, and which were refused."""

    asked: tuple[TokenAsked, ...]
    dropped: tuple[TokenDropped, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What it answers, by the hash of the external_id: tokens on file, and who is erased."""

    tokens: Mapping[str, str]
    erased: Collection[str]


class TokenBroker:
    """The drain's side: what is cached, who mints, who waits for it, what is not yet stored."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._cached: dict[str, str] = {}
        self._waiting: dict[str, deque[TokenAsked]] = {}
        # By external_id. Stored with the next results: until then it serves this drain.
        self._unsaved: dict[str, str] = {}

    def take(self, messages: Sequence[TokenMessage]) -> Question | None:
        """Answer what memory can; returns what must be asked of the database."""
        # Refused tokens first: an asker in the same turn must not get one of them.
        dropped = tuple(m for m in messages if isinstance(m, TokenDropped))
        for refused in dropped:
            self._forget(refused)
        for message in messages:
            if isinstance(message, TokenKept):
                self._keep(message)
        asked = [m for m in messages if isinstance(m, TokenAsked)]
        unknown = tuple(message for message in asked if not self._answer(message))
        return Question(unknown, dropped) if unknown or dropped else None

    def ask(self, connection: Connection, question: Question) -> Facts:
        """Ask the database, and have it forget what was refused; may be done again."""
        for dropped in question.dropped:
            drop_token(connection, dropped.external_id, dropped.token)
        keys = {external_id_hash(asked.external_id) for asked in question.asked}
        tokens = read_tokens(connection, self._vault, keys)
        # Only of the others: erasing a user deletes their token in the same transaction.
        return Facts(tokens, read_tombstones(connection, keys - tokens.keys()))

    def tell(self, question: Question, facts: Facts) -> None:
        """Pass on what the database said; the first who asked for what is nowhere mints it."""
        self._cached |= facts.tokens
        for message in question.asked:
            key = external_id_hash(message.external_id)
            if key in facts.erased:
                message.reply.put(Reply(is_erased=True))
            elif not self._answer(message):
                self._waiting[key] = deque()
                message.reply.put(Reply())

    @property
    def unsaved(self) -> dict[str, str]:
        """Tokens that were minted and are not stored yet, by external_id."""
        return dict(self._unsaved)

    def save(self, connection: Connection, tokens: Mapping[str, str]) -> None:
        """Store these tokens; may be done again."""
        keep_tokens(connection, self._vault, tokens)

    def mark_saved(self, tokens: Mapping[str, str]) -> None:
        """Note that these are committed."""
        for external_id, token in tokens.items():
            if self._unsaved.get(external_id) == token:
                del self._unsaved[external_id]

    def _forget(self, dropped: TokenDropped) -> None:
        key = external_id_hash(dropped.external_id)
        if self._cached.get(key) == dropped.token:
            del self._cached[key]
        if self._unsaved.get(dropped.external_id) == dropped.token:
            del self._unsaved[dropped.external_id]

    def _keep(self, kept: TokenKept) -> None:
        key = external_id_hash(kept.external_id)
        waiting = self._waiting.pop(key, deque())
        if kept.token is not None:
            self._cached[key] = self._unsaved[kept.external_id] = kept.token
            # They all wanted this one.
            for asked in waiting:
                asked.reply.put(Reply(kept.token))
        elif waiting:
            # The minting failed: the next in line tries, the others go on waiting.
            waiting.popleft().reply.put(Reply())
            self._waiting[key] = waiting

    def _answer(self, asked: TokenAsked) -> bool:
        key = external_id_hash(asked.external_id)
        if key in self._cached:
            asked.reply.put(Reply(self._cached[key]))
            return True
        # Somebody is minting it: one token a user, not one a thread.
        if key in self._waiting:
            self._waiting[key].append(asked)
            return True
        return False
