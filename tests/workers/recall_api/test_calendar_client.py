"""Calendar V1's endpoints against the fake Recall: typed, in turn, and never without a reason."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from models.tables.base import db_now
from models.tables.calendar import CalendarToken, ErasedUser
from tests.conftest import API_KEY
from tests.lab.faults.faults import Fault as Scripted
from tests.lab.recall import FakeRecall
from tests.support.rows import rows
from workers.calendar_tokens.crypto import Vault
from workers.calendar_tokens.session import CalendarUsers
from workers.privacy.tombstones import UserErasedError, external_id_hash
from workers.rate_limits.buckets import Bucket, Buckets, Grant, LocalLimits
from workers.recall_api.calendar_client import CalendarClient, UserToken
from workers.recall_api.calendar_schemas import read_user
from workers.recall_api.circuit import open_circuit
from workers.recall_api.client import Recall
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.transport import HttpClient, make_ssl_context

MakeClient = Callable[..., CalendarClient]


@pytest.fixture
def make_client(recall: FakeRecall) -> Iterator[MakeClient]:
    """Make clients of the fake over one connection."""
    wire = HttpClient(make_ssl_context())

    def make(**given: Any) -> CalendarClient:
        limits = given.pop("limits", LocalLimits(share=1.0))
        buckets = given.pop("buckets", Buckets(share=1000.0))
        caller = Recall(wire, recall.url, recall.api_key)
        return CalendarClient(caller, limits, buckets, **given)

    yield make
    wire.close()


@pytest.fixture
def client(make_client: MakeClient) -> CalendarClient:
    """A client whose limits are out of the way."""
    return make_client()


def test_authenticate_creates_a_user_with_both_platforms_unconnected(
    recall: FakeRecall, client: CalendarClient
) -> None:
    """As Recall lists them: neither stands yet."""
    user = client.user(client.authenticate("ines"))
    assert user.external_id == "ines"
    assert (user.preferences or {})["record_external"] is False
    assert {c.platform for c in user.connections} == {"google", "microsoft"}
    assert user.connected_to("google") is user.connected_to("microsoft") is None
    assert recall.world.user_named("ines") is not None


def test_a_connection_is_found_wherever_it_is_listed(
    recall: FakeRecall, client: CalendarClient
) -> None:
    """Microsoft too, which stands second."""
    token = client.authenticate("ines")
    named = recall.world.user_named("ines")
    assert named is not None
    recall.world.connect(named.id, "microsoft", "Ines@Home.example")
    found = client.user(token).connected_to("microsoft")
    assert found is not None
    assert found.email == "ines@home.example"
    gone = client.disconnect(token, "microsoft")
    assert gone.connected_to("microsoft") is None


def test_meetings_are_listed_within_a_window(recall: FakeRecall, client: CalendarClient) -> None:
    """By their start, each with the bot that is to record it."""
    user = recall.build.user()
    meeting = recall.build.meeting(user)
    bot = recall.build.bot([meeting])
    token = client.authenticate(str(user.external_id))
    (found,) = client.meetings(token, meeting.start_time - timedelta(minutes=1))
    assert (found.id, found.bot_id, found.body.title) == (meeting.id, bot.id, meeting.title)
    assert client.meetings(token, before=meeting.start_time - timedelta(minutes=1)) == ()
    assert client.refresh(token) == (found,)


def test_deleting_a_user_needs_no_body_in_the_answer(
    recall: FakeRecall, client: CalendarClient
) -> None:
    """204, and the token is worth nothing from then on."""
    token = client.authenticate("ines")
    client.delete(token)
    assert recall.world.user_named("ines") is None
    with pytest.raises(RecallError) as caught:
        client.user(token)
    assert caught.value.fault is Fault.TOKEN_REFUSED


def test_the_workspaces_users_are_listed_by_key(recall: FakeRecall, client: CalendarClient) -> None:
    """All of them, or those with an address."""
    first, second = recall.build.user(), recall.build.user()
    recall.world.connect(first.id, "google", "one@home.example")
    assert {user.id for user in client.users()} == {first.id, second.id}
    assert [user.id for user in client.users("one@home.example")] == [first.id]


def test_a_token_shows_in_no_repr(client: CalendarClient) -> None:
    """Whoever prints it prints the user's id alone."""
    token = client.authenticate("ines")
    assert token.token not in repr(token)
    assert [call.path for call in client.calls] == ["calendar/authenticate"]


class Shut:
    """Limits that let nobody through for an hour."""

    def __init__(self) -> None:
        self.closed: dict[str, float] = {}

    def take(self, bucket: Bucket, count: int = 1) -> Grant:
        """Refuse."""
        return Grant(0, 3600.0)


def test_a_far_turn_is_an_error_and_no_call(recall: FakeRecall, make_client: MakeClient) -> None:
    """With the seconds to wait; Recall hears nothing."""
    with pytest.raises(RecallError) as caught:
        make_client(limits=Shut()).authenticate("ines")
    assert (caught.value.fault, caught.value.retry_after) == (Fault.HELD, 3600.0)
    assert recall.calls.all() == []


def test_a_near_turn_is_waited_for(make_client: MakeClient) -> None:
    """A user's endpoints share one bucket of that user's."""
    # 1200 a minute is one in 50 ms once the burst is spent.
    client = make_client(buckets=Buckets(share=10.0))
    token = client.authenticate("ines")
    started = time.monotonic()
    for _ in range(4):
        client.user(token)
    assert time.monotonic() - started > 0.1


def test_a_429_closes_the_bucket_for_everybody(recall: FakeRecall, make_client: MakeClient) -> None:
    """For as long as Recall says, also for other clients."""
    limits = LocalLimits(share=1.0)
    scripted = Scripted(status=429, headers={"Retry-After": "30"})
    with recall.faults.during(scripted), pytest.raises(RecallError) as caught:
        make_client(limits=limits).authenticate("ines")
    assert caught.value.fault is Fault.RATE_LIMITED
    with pytest.raises(RecallError) as held:
        make_client(limits=limits).authenticate("crew")
    assert held.value.fault is Fault.HELD


@pytest.mark.parametrize("body", [{}, {"id": None}, {"id": "../x"}])
def test_a_body_that_names_no_user_is_unreadable(body: dict[str, object]) -> None:
    """Whatever else is in it."""
    with pytest.raises(RecallError) as caught:
        read_user(body, Endpoint.USER)
    assert caught.value.fault is Fault.UNREADABLE


def users_of(engine: Engine, client: CalendarClient) -> CalendarUsers:
    """Acting as users, with this test's database."""
    return CalendarUsers(engine, Vault(API_KEY), client)


def test_a_token_is_requested_once_and_stored_encrypted(
    recall: FakeRecall, engine: Engine, client: CalendarClient
) -> None:
    """Two uses, one request; neither token nor external_id is in the row."""
    users = users_of(engine, client)
    first, second = users.token("ines"), users.token("ines")
    assert first == second
    assert [call.template for call in recall.calls.all()] == ["calendar/authenticate"]
    (row,) = rows(engine, CalendarToken)
    assert first.token not in str(row)
    assert row.external_id_hash == external_id_hash("ines")
    hours = (row.expires_at - datetime.now(UTC)) / timedelta(hours=1)
    assert 18 < hours < 20


def test_a_refused_token_is_renewed_once(
    recall: FakeRecall, engine: Engine, client: CalendarClient
) -> None:
    """The user deleted behind our back is created anew, and the work done with the fresh token."""
    users = users_of(engine, client)
    old = users.token("ines")
    client.delete(old)
    assert users.act("ines", client.user).external_id == "ines"
    assert users.token("ines") != old
    refusing = recall.faults.during(Scripted(path="calendar/user", status=401))
    with refusing, pytest.raises(RecallError) as caught:
        users.act("ines", client.user)
    assert caught.value.fault is Fault.TOKEN_REFUSED


def test_no_token_is_requested_for_the_erased(
    recall: FakeRecall, engine: Engine, client: CalendarClient
) -> None:
    """A request would create them again at Recall."""
    values = {"external_id_hash": external_id_hash("ines"), "reason": "asked"}
    with engine.begin() as connection:
        connection.execute(insert(ErasedUser).values(**values, erased_at=db_now()))
    with pytest.raises(UserErasedError):
        users_of(engine, client).token("ines")
    assert recall.calls.all() == []


def test_an_open_circuit_is_heeded(
    recall: FakeRecall, engine: Engine, client: CalendarClient
) -> None:
    """While Recall refuses the key, no call is made with it."""
    with engine.begin() as connection:
        open_circuit(connection, RecallError(Fault.WORKSPACE, Endpoint.BOT, status=401), 300)
    with pytest.raises(RecallError) as caught:
        users_of(engine, client).mint("ines")
    assert caught.value.fault is Fault.HELD
    assert recall.calls.all() == []


def test_a_user_token_is_a_value(client: CalendarClient) -> None:
    """Equal by its fields."""
    assert UserToken("a", "t") == UserToken("a", "t") != UserToken("b", "t")
