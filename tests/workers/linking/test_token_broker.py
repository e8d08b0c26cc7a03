"""The token desk: one minting at a time for a user, and nobody waits for ever."""

import queue
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, insert, update

from models.tables.base import db_now
from models.tables.calendar import CalendarToken, ErasedUser
from tests.support.fakes import START
from tests.support.rows import rows
from workers.calendar_tokens.crypto import Vault
from workers.linking.token_broker import (
    BrokeredTokens,
    Reply,
    TokenAsked,
    TokenBroker,
    TokenDropped,
    TokenKept,
    TokenMessage,
)
from workers.privacy.tombstones import UserErasedError, external_id_hash
from workers.recall_api.errors import Fault, RecallError


class Counter:
    """A desk with its database; each call is a drain's turn."""

    def __init__(self, engine: Engine, api_key: str = "the-api-key") -> None:
        self.engine = engine
        self.desk = TokenBroker(Vault(api_key))

    def take(self, *messages: TokenMessage) -> None:
        """Hand messages to the desk, and store what was minted."""
        question = self.desk.take(messages)
        with self.engine.begin() as connection:
            if question:
                self.desk.tell(question, self.desk.ask(connection, question))
            minted = self.desk.unsaved
            self.desk.save(connection, minted)
        self.desk.mark_saved(minted)

    def ask(self, external_id: str = "crew-1") -> Reply | None:
        """Ask, and return the reply; None when there is none yet."""
        asked = TokenAsked(external_id)
        self.take(asked)
        return reply_to(asked)


def reply_to(asked: TokenAsked) -> Reply | None:
    """The reply, if there is one by now."""
    try:
        return asked.reply.get_nowait()
    except queue.Empty:
        return None


def test_a_minted_token_serves_the_next_drain_of_any_worker(engine: Engine) -> None:
    """It is stored, encrypted, under a hash."""
    first = Counter(engine)
    assert first.ask() == Reply()
    first.take(TokenKept("crew-1", "secret-token"))
    assert first.ask() == Reply("secret-token")
    assert Counter(engine).ask() == Reply("secret-token")
    (kept,) = rows(engine, CalendarToken)
    assert kept.external_id_hash == external_id_hash("crew-1")
    assert b"secret-token" not in kept.ciphertext
    assert 18.9 < (kept.expires_at - datetime.now(UTC)).total_seconds() / 3600 < 20


def test_an_expired_token_is_minted_anew(engine: Engine) -> None:
    """By the database's clock."""
    Counter(engine).take(TokenKept("crew-1", "old"))
    with engine.begin() as connection:
        connection.execute(update(CalendarToken).values(expires_at=db_now(-1)))
    assert Counter(engine).ask() == Reply()


def test_a_token_sealed_with_another_api_key_is_none(engine: Engine) -> None:
    """After the key was changed, tokens are minted anew."""
    Counter(engine).take(TokenKept("crew-1", "old"))
    assert Counter(engine, "another-key").ask() == Reply()


def test_one_thread_mints_and_the_others_wait_for_it(engine: Engine) -> None:
    """Twenty meetings of one user cost one token."""
    counter = Counter(engine)
    first, *others = (TokenAsked("crew-1") for _ in range(4))
    counter.take(first, *others)
    assert reply_to(first) == Reply()
    assert [reply_to(asked) for asked in others] == [None] * 3
    counter.take(TokenKept("crew-1", "fresh"))
    assert [reply_to(asked) for asked in others] == [Reply("fresh")] * 3


def test_when_the_minting_fails_the_next_in_line_tries(engine: Engine) -> None:
    """One after the other, and a later asker starts over."""
    counter = Counter(engine)
    first, second, third = (TokenAsked("crew-1") for _ in range(3))
    counter.take(first, second, third)
    counter.take(TokenKept("crew-1", None))
    assert (reply_to(second), reply_to(third)) == (Reply(), None)
    counter.take(TokenKept("crew-1", None))
    assert reply_to(third) == Reply()
    counter.take(TokenKept("crew-1", None))
    assert counter.ask() == Reply()


def test_a_dropped_token_is_forgotten_everywhere(engine: Engine) -> None:
    """Here and in the table."""
    counter = Counter(engine)
    counter.take(TokenKept("crew-1", "refused"))
    counter.take(TokenDropped("crew-1", "refused"))
    assert counter.ask() == Reply()
    assert rows(engine, CalendarToken) == []


def test_a_token_that_another_worker_renewed_is_not_dropped(engine: Engine) -> None:
    """Compare, then delete."""
    counter = Counter(engine)
    counter.take(TokenKept("crew-1", "refused"))
    Counter(engine).take(TokenKept("crew-1", "renewed"))
    counter.take(TokenDropped("crew-1", "refused"))
    assert Counter(engine).ask() == Reply("renewed")


def test_an_erased_user_is_refused_until_lifted(engine: Engine) -> None:
    """Asking a token would create them again at Recall."""
    tomb = {"external_id_hash": external_id_hash("crew-1"), "erased_at": START, "reason": "asked"}
    with engine.begin() as connection:
        connection.execute(insert(ErasedUser).values(tomb))
    assert Counter(engine).ask() == Reply(is_erased=True)
    assert Counter(engine).ask("crew-2") == Reply()
    with engine.begin() as connection:
        connection.execute(update(ErasedUser).values(lifted_at=START))
    assert Counter(engine).ask() == Reply()


def test_a_thread_that_hears_nothing_is_cut_at_the_drains_end() -> None:
    """It waits no longer than the drain lives."""
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
    tokens = BrokeredTokens(inbox, until=time.monotonic() + 0.01)
    with pytest.raises(RecallError) as caught:
        tokens.get("crew-1")
    assert caught.value.fault is Fault.CUT


def test_a_thread_learns_that_a_user_is_erased() -> None:
    """As an error of its own."""

    class Erasing(queue.SimpleQueue[object]):
        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT002
            assert isinstance(item, TokenAsked)
            item.reply.put(Reply(is_erased=True))

    with pytest.raises(UserErasedError):
        BrokeredTokens(Erasing(), until=time.monotonic() + 5).get("crew-1")


def test_a_token_is_stored_unless_its_user_was_erased_meanwhile(engine: Engine) -> None:
    """The erasure's own look at the table may have been before the token came into it."""
    tomb = {"external_id_hash": external_id_hash("crew-1"), "erased_at": START, "reason": "erased"}
    with engine.begin() as connection:
        connection.execute(insert(ErasedUser).values(tomb))
    Counter(engine).take(TokenKept("crew-1", "late"), TokenKept("crew-2", "good"))
    assert {row.external_id_hash for row in rows(engine, CalendarToken)} == {
        external_id_hash("crew-2")
    }


def test_a_token_is_unsaved_until_it_is_committed_and_serves_all_the_while() -> None:
    """No database is asked for what this drain minted itself."""
    desk = TokenBroker(Vault("the-api-key"))
    asked = TokenAsked("crew-1")
    assert desk.take([TokenKept("crew-1", "fresh"), asked]) is None
    assert reply_to(asked) == Reply("fresh")
    assert desk.unsaved == {"crew-1": "fresh"}
    desk.mark_saved({"crew-1": "older"})
    assert desk.unsaved == {"crew-1": "fresh"}
    desk.mark_saved(desk.unsaved)
    assert desk.unsaved == {}


def test_a_refused_token_is_not_stored_any_more() -> None:
    """Refused before it was written."""
    desk = TokenBroker(Vault("the-api-key"))
    desk.take([TokenKept("crew-1", "refused")])
    question = desk.take([TokenDropped("crew-1", "refused")])
    assert question is not None
    assert (question.asked, desk.unsaved) == ((), {})
