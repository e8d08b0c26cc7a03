"""The token broker: one request at a time for a user, and nobody waits for ever."""

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
from workers.db.transactions import Writer
from workers.linking.token_broker import (
    BrokeredTokens,
    NewToken,
    RefusedToken,
    TokenBroker,
    TokenMessage,
    TokenRequest,
)
from workers.privacy.tombstones import UserErasedError, external_id_hash
from workers.recall_api.errors import Fault, RecallError

# Recall is to be asked for a token.
REQUEST_IT = None
WAITING = "no answer yet"


class Drain:
    """A broker with its database; each call is one turn of the drain."""

    def __init__(self, engine: Engine, api_key: str = "the-api-key") -> None:
        self._writer = Writer(engine)
        self._broker = TokenBroker(Vault(api_key), self._writer)

    def serve(self, *messages: TokenMessage) -> None:
        """Serve messages, and store nothing yet."""
        self._broker.serve(messages)
        self._writer.close()

    def turn(self, *messages: TokenMessage) -> None:
        """Serve messages, and store the new tokens."""
        self.serve(*messages)
        self._broker.save()
        self._writer.close()

    def ask(self, external_id: str = "crew-1") -> str | None:
        """Request a token, and return the answer."""
        request = TokenRequest(external_id)
        self.turn(request)
        return answer_to(request)


def answer_to(request: TokenRequest) -> str | None:
    """The answer, if there is one by now."""
    return request.answer.result() if request.answer.done() else WAITING


def test_a_new_token_serves_the_next_drain_of_any_worker(engine: Engine) -> None:
    """It is stored, encrypted, under a hash."""
    first = Drain(engine)
    assert first.ask() is REQUEST_IT
    first.turn(NewToken("crew-1", "secret-token"))
    assert first.ask() == "secret-token"
    assert Drain(engine).ask() == "secret-token"
    (kept,) = rows(engine, CalendarToken)
    assert kept.external_id_hash == external_id_hash("crew-1")
    assert b"secret-token" not in kept.ciphertext
    assert 18.9 < (kept.expires_at - datetime.now(UTC)).total_seconds() / 3600 < 20


def test_an_expired_token_is_requested_again(engine: Engine) -> None:
    """By the database's clock."""
    Drain(engine).turn(NewToken("crew-1", "old"))
    with engine.begin() as connection:
        connection.execute(update(CalendarToken).values(expires_at=db_now(-1)))
    assert Drain(engine).ask() is REQUEST_IT


def test_a_token_sealed_with_another_api_key_is_none(engine: Engine) -> None:
    """After the key was changed, tokens are requested again."""
    Drain(engine).turn(NewToken("crew-1", "old"))
    assert Drain(engine, "another-key").ask() is REQUEST_IT


def test_one_thread_requests_a_token_and_the_others_wait(engine: Engine) -> None:
    """Twenty meetings of one user cost one token."""
    drain = Drain(engine)
    first, *others = (TokenRequest("crew-1") for _ in range(4))
    drain.turn(first, *others)
    assert answer_to(first) is REQUEST_IT
    assert [answer_to(request) for request in others] == [WAITING] * 3
    drain.turn(NewToken("crew-1", "fresh"))
    assert [answer_to(request) for request in others] == ["fresh"] * 3


def test_when_a_request_fails_the_next_in_line_tries(engine: Engine) -> None:
    """One after the other, and a later request starts over."""
    drain = Drain(engine)
    first, second, third = (TokenRequest("crew-1") for _ in range(3))
    drain.turn(first, second, third)
    drain.turn(NewToken("crew-1", None))
    assert (answer_to(second), answer_to(third)) == (REQUEST_IT, WAITING)
    drain.turn(NewToken("crew-1", None))
    assert answer_to(third) is REQUEST_IT
    drain.turn(NewToken("crew-1", None))
    assert drain.ask() is REQUEST_IT


def test_a_refused_token_is_deleted_everywhere(engine: Engine) -> None:
    """Here and in the table."""
    drain = Drain(engine)
    drain.turn(NewToken("crew-1", "refused"))
    drain.turn(RefusedToken("crew-1", "refused"))
    assert drain.ask() is REQUEST_IT
    assert rows(engine, CalendarToken) == []


def test_a_token_that_another_worker_renewed_is_not_deleted(engine: Engine) -> None:
    """It is compared before it is deleted."""
    drain = Drain(engine)
    drain.turn(NewToken("crew-1", "refused"))
    Drain(engine).turn(NewToken("crew-1", "renewed"))
    drain.turn(RefusedToken("crew-1", "refused"))
    assert Drain(engine).ask() == "renewed"


def test_an_erased_user_is_refused_until_lifted(engine: Engine) -> None:
    """A token would create them again at Recall."""
    tomb = {"external_id_hash": external_id_hash("crew-1"), "erased_at": START, "reason": "asked"}
    with engine.begin() as connection:
        connection.execute(insert(ErasedUser).values(tomb))
    with pytest.raises(UserErasedError):
        Drain(engine).ask()
    assert Drain(engine).ask("crew-2") is REQUEST_IT
    with engine.begin() as connection:
        connection.execute(update(ErasedUser).values(lifted_at=START))
    assert Drain(engine).ask() is REQUEST_IT


def test_a_thread_without_an_answer_is_cut_at_the_drains_end() -> None:
    """It waits no longer than the drain runs."""
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
    tokens = BrokeredTokens(inbox, until=time.monotonic() + 0.01)
    with pytest.raises(RecallError) as caught:
        tokens.get("crew-1")
    assert caught.value.fault is Fault.CUT


def test_a_thread_learns_that_a_user_is_erased() -> None:
    """By its own exception."""

    class Erasing(queue.SimpleQueue[object]):
        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT002
            assert isinstance(item, TokenRequest)
            item.answer.set_exception(UserErasedError())

    with pytest.raises(UserErasedError):
        BrokeredTokens(Erasing(), until=time.monotonic() + 5).get("crew-1")


def test_a_token_is_stored_unless_its_user_was_erased_meanwhile(engine: Engine) -> None:
    """The erasure may have deleted tokens before this one was stored."""
    tomb = {"external_id_hash": external_id_hash("crew-1"), "erased_at": START, "reason": "erased"}
    with engine.begin() as connection:
        connection.execute(insert(ErasedUser).values(tomb))
    Drain(engine).turn(NewToken("crew-1", "late"), NewToken("crew-2", "good"))
    assert {row.external_id_hash for row in rows(engine, CalendarToken)} == {
        external_id_hash("crew-2")
    }


def test_a_new_token_serves_before_it_is_stored(engine: Engine) -> None:
    """The database is not asked for what this drain requested itself."""
    drain = Drain(engine)
    request = TokenRequest("crew-1")
    drain.serve(NewToken("crew-1", "fresh"), request)
    assert (answer_to(request), rows(engine, CalendarToken)) == ("fresh", [])
    drain.turn()
    assert len(rows(engine, CalendarToken)) == 1


def test_a_refused_token_is_not_stored_any_more(engine: Engine) -> None:
    """Refused before it was written."""
    drain = Drain(engine)
    drain.serve(NewToken("crew-1", "refused"))
    drain.turn(RefusedToken("crew-1", "refused"))
    assert rows(engine, CalendarToken) == []
