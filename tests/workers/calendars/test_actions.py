"""Acting on one calendar user: nobody is created by looking, one platform goes without the other.

Each question of Recall's Calendar V1 FAQ that is answered here is asked end to end.
"""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.calendar import CalendarToken, ErasedUser
from models.tables.link import Link
from tests.conftest import MakeContext
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.world.shapes import CalendarUser as FakeUser
from tests.support.cli import Tell, link, teller, told
from tests.support.rows import add_bot, add_delivery, count, later, rows, set_bot
from workers.linking.drain import Drain
from workers.privacy.tombstones import external_id_hash
from workers.recall_api.errors import RecallError
from workers.shutdown import Stop

WHO = "ines"


@pytest.fixture
def tell(database_url: str, recall: FakeRecall) -> Tell:
    """The command line."""
    return teller(database_url, recall)


@pytest.fixture
def ines(recall: FakeRecall) -> FakeUser:
    """A user who has connected both platforms."""
    user = recall.build.user(WHO)
    recall.world.connect(user.id, "microsoft", "ines@north.example")
    return user


COMMANDS = (
    ("user",),
    ("meetings",),
    ("refresh",),
    ("disconnect", "--platform", "google", "--yes"),
    ("delete-user", "--yes"),
    ("check",),
)


def test_no_command_creates_the_user_it_asks_for(recall: FakeRecall, tell: Tell) -> None:
    """An unknown external_id is refused in a sentence, and no token is asked."""
    for words in COMMANDS:
        result = tell("calendar", words[0], "mistyped", *words[1:])
        assert result.exit_code == 1, words
        assert "Recall has no calendar user" in result.stderr
    assert recall.world.users == {}
    assert recall.calls.all("calendar/authenticate") == []


def test_who_was_deleted_at_recall_is_unknown_whatever_we_remember(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """Our tables and a cached token are no proof."""
    link(engine, make_context(), recall.build.bot([recall.build.meeting(ines)]).id)
    recall.world.delete_user(ines.id)
    assert tell("calendar", "user", WHO).exit_code == 1
    assert tell("calendar", "meetings", WHO).exit_code == 1
    assert recall.world.users == {}


def test_an_erased_user_is_refused(recall: FakeRecall, tell: Tell, ines: FakeUser) -> None:
    """Until they connect anew."""
    tell("erase", WHO, "--yes")
    for words in (*COMMANDS[:4], COMMANDS[5]):
        result = tell("calendar", words[0], WHO, *words[1:])
        assert (result.exit_code, "erased" in result.stderr) == (1, True), words
    assert recall.calls.all("calendar/authenticate") == []


def test_a_user_shows_connections_and_what_they_record(tell: Tell, ines: FakeUser) -> None:
    """For one call of the workspace's and no token."""
    shown = told(tell("calendar", "user", WHO, "--json"))
    assert {c["platform"]: c["connected"] for c in shown["connections"]} == {
        "google": True,
        "microsoft": True,
    }
    words = tell("calendar", "user", WHO).stdout
    assert "recording preferences: external meetings, internal meetings" in words


def test_meetings_are_listed_within_a_window(
    recall: FakeRecall, tell: Tell, ines: FakeUser
) -> None:
    """With the bot that records each."""
    soon = datetime.now(UTC) + timedelta(days=1)
    coming, past = recall.build.meeting(ines, start=soon), recall.build.meeting(ines)
    bot = recall.build.bot([coming], outcome=None)
    found = told(tell("calendar", "meetings", WHO, "--since", "2026-01-01", "--json"))["items"]
    assert [one["id"] for one in found] == [past.id, coming.id]
    assert found[1]["bot_id"] == bot.id
    since = datetime.now(UTC).isoformat()
    found = told(tell("calendar", "meetings", WHO, "--since", since, "--json"))["items"]
    assert [one["id"] for one in found] == [coming.id]
    assert tell("calendar", "meetings", WHO, "--since", "soon").exit_code == 2


def test_faq_when_to_call_refresh(
    engine: Engine, recall: FakeRecall, tell: Tell, ines: FakeUser
) -> None:
    """When do I have to call Refresh Calendar Meetings? Seldom, and it says why."""
    recall.build.meeting(ines)
    result = tell("calendar", "refresh", WHO, "--json")
    assert "rarely needed" in result.stderr
    assert len(told(result)["items"]) == 1
    assert [row.action for row in rows(engine, Audit)] == ["calendar refresh"]


def test_faq_one_calendar_is_disabled_without_deleting_the_user(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """What is the best way to disable a single calendar? The other platform stays."""
    coming, done = (recall.build.bot([recall.build.meeting(ines)]) for _ in range(2))
    link(engine, make_context(), coming.id)
    link(engine, make_context(), done.id, code="done")
    result = tell("calendar", "disconnect", WHO, "--platform", "google", "--yes", "--json")
    connected = {c["platform"]: c["connected"] for c in told(result)["connections"]}
    assert connected == {"google": False, "microsoft": True}
    assert recall.world.user_named(WHO) is not None
    ended = {row.bot_id: (row.end_reason, bool(row.ended_at)) for row in rows(engine, Link)}
    assert ended == {coming.id: ("calendar_gone", True), done.id: ("calendar_gone", False)}
    (noted,) = rows(engine, Audit)
    assert (noted.action, noted.subject, noted.details) == (
        "calendar disconnect",
        WHO,
        {"platform": "google"},
    )
    assert tell("calendar", "disconnect", WHO).exit_code == 2


def test_a_deleted_user_is_not_created_again_by_a_late_webhook(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """Its links say so, and the bot of the late webhook is linked without a token."""
    recall.world.keeps_references = True
    known, unknown = (recall.build.bot([recall.build.meeting(ines)]) for _ in range(2))
    link(engine, make_context(), known.id)
    done = told(tell("calendar", "delete-user", WHO, "--yes", "--json"))
    assert done == {"external_id": WHO, "links": 1}
    assert recall.world.users == {}
    recall.calls.clear()
    for bot in (known, unknown):
        add_delivery(engine, bot.id, "done", occurred_at=later(60))
    Drain(make_context(), Stop()).run()
    assert recall.world.users == {}
    assert recall.calls.all("calendar/authenticate") == []
    found = {row.bot_id: (row.external_id, row.end_reason) for row in rows(engine, Link)}
    assert found == {bot.id: (WHO, "user_erased") for bot in (known, unknown)}
    assert count(engine, CalendarToken) == 0
    assert [row.action for row in rows(engine, Audit)] == ["calendar delete-user"]


def test_a_delete_that_fails_leaves_no_tombstone(
    engine: Engine, recall: FakeRecall, tell: Tell, ines: FakeUser
) -> None:
    """The user is still there, and so are their meetings."""
    recall.faults.add(Fault(path="calendar/user", method="DELETE", status=503))
    with pytest.raises(RecallError, match="http_503"):
        tell("calendar", "delete-user", WHO, "--yes")
    assert count(engine, ErasedUser) == 0
    recall.faults.clear()
    assert tell("calendar", "delete-user", WHO, "--yes").exit_code == 0


def test_deleting_waits_for_drains_that_may_still_mint(
    engine: Engine, recall: FakeRecall, tell: Tell, ines: FakeUser
) -> None:
    """Who was told to ask a token before the tombstone must be through, or it would come last."""
    bot = recall.build.bot()
    add_bot(engine, bot.id, lease_token="a drain's", lease_until=db_now(60))
    done = threading.Event()

    def delete() -> None:
        tell("calendar", "delete-user", WHO, "--yes")
        done.set()

    thread = threading.Thread(target=delete)
    thread.start()
    while not rows(engine, ErasedUser, external_id_hash=external_id_hash(WHO)):
        assert thread.is_alive()
    assert not done.wait(0.5)
    assert recall.world.user_named(WHO) is not None
    set_bot(engine, bot.id, lease_token=None, lease_until=None)
    thread.join(timeout=20)
    assert recall.world.user_named(WHO) is None


def test_an_erased_user_can_still_be_deleted_at_recall(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext, ines: FakeUser
) -> None:
    """While Recall lists them; afterwards there is nobody to delete, and nobody is made."""
    link(engine, make_context(), recall.build.bot([recall.build.meeting(ines)]).id)
    tell("erase", WHO, "--yes")
    assert tell("calendar", "delete-user", WHO, "--yes").exit_code == 0
    assert recall.world.users == {}
    assert [row.reason for row in rows(engine, ErasedUser)] == ["erased"]
    assert WHO not in str(rows(engine, Link))
    assert tell("calendar", "delete-user", WHO, "--yes").exit_code == 1
    assert recall.world.users == {}
