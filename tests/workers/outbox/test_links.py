"""The outbox: no change of a link without its event, and no event without a change."""

import threading
from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest
from sqlalchemy import Connection, Engine, Table, delete, select, update

from models.core.bot_status import Status
from models.core.engine import make_engine
from models.queries.views import BOT_LINKS
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from models.tables.calendar import CalendarMeeting
from models.tables.event import Event
from models.tables.link import Link
from tests.conftest import MakeSettings
from tests.support.fakes import BOT, MEETINGS, ref
from tests.support.ids import new_id
from tests.support.rows import add_bot, add_delivery, later, rows, set_bot
from tests.workers.linking.test_save_bots import (
    body,
    found,
    outcome_for,
    owe_again,
    owed,
    save_now,
    take,
)
from tests.workers.recordings.test_bot_outcomes import hear as hear_of
from tests.workers.recordings.test_bot_outcomes import list_bot
from tests.workers.recordings.test_write import arrive, webhook
from workers.db.upsert import upsert
from workers.linking.apply_deliveries import apply_all
from workers.linking.leases import CRASH_LIMIT, claim_suspect
from workers.linking.relink import relink
from workers.linking.save_bots import save_outcomes
from workers.outbox.links import adopt_links, lock_bots, watch_links
from workers.recordings.bot_outcomes import fill_outcomes

_STATUSES = cast("Table", BotStatus.__table__)
OTHER_BOT = "5b1f0c52-3f55-4a1e-8f0e-1a2b3c4d5e02"


def told(engine: Engine) -> list[tuple[str, list[str]]]:
    """The link events in the order of writing: each type, and what changed."""
    return [(e.type, e.data["changed"]) for e in rows(engine, Event) if e.type != "bot.ended"]


def link_row(engine: Engine, bot_id: str = BOT) -> Any:
    """The bot's one row of bot_links."""
    with engine.connect() as connection:
        return connection.execute(select(BOT_LINKS).where(BOT_LINKS.c.bot_id == bot_id)).one()


def link_the_bot(engine: Engine, bot_id: str = BOT, **fields: Any) -> None:
    """Link a bot to the first meeting."""
    add_bot(engine, bot_id, **fields)
    save_now(engine, outcome_for(take(engine), bot=body(ref(0)), fetched=(found(0),)))


def test_a_new_link_is_told_as_a_reader_sees_it(engine: Engine) -> None:
    """The event's row is the view's, and is found by its bot, meeting and user."""
    link_the_bot(engine)
    (event,) = rows(engine, Event)
    row = link_row(engine)
    assert (event.type, event.bot_id, event.meeting_id) == ("link.created", BOT, MEETINGS[0])
    assert (event.external_id, event.position, event.state) == ("crew-0", None, "pending")
    assert event.data["changed"] == []
    assert event.data["link"]["meeting_title"] == "Weekly"
    assert set(event.data["link"]) == set(row._mapping)
    assert event.data["link"]["updated_at"] == row.updated_at.isoformat()


def test_the_same_facts_are_told_once(engine: Engine) -> None:
    """Ten settles of what is known write nothing, and move no updated_at."""
    link_the_bot(engine)
    first = link_row(engine).updated_at
    for _ in range(10):
        again = outcome_for(owe_again(engine), bot=body(ref(0)), fetched=(found(0),))
        save_now(engine, again)
    assert told(engine) == [("link.created", [])]
    assert link_row(engine).updated_at == first


def test_a_change_names_what_changed(engine: Engine) -> None:
    """A new title, by its column's name."""
    link_the_bot(engine)
    set_link(engine, updated_at=db_now(-60))
    before = link_row(engine).updated_at
    result = found(0, title="Monthly")
    save_now(engine, outcome_for(owe_again(engine), bot=body(ref(0)), fetched=(result,)))
    assert told(engine)[1:] == [("link.updated", ["meeting_title"])]
    assert rows(engine, Event)[1].data["link"]["meeting_title"] == "Monthly"
    assert link_row(engine).updated_at > before


def set_link(engine: Engine, **fields: Any) -> None:
    """Change every link's row past the code under test."""
    with engine.begin() as connection:
        connection.execute(update(Link).values(**fields))


def test_an_end_and_a_return_are_told(engine: Engine) -> None:
    """Each as what it is."""
    link_the_bot(engine)
    save_now(engine, outcome_for(owe_again(engine), bot=body()))
    save_now(engine, outcome_for(owe_again(engine), bot=body(ref(0)), fetched=(found(0),)))
    kinds = [kind for kind, _ in told(engine)]
    assert kinds == ["link.created", "link.ended", "link.reopened"]
    assert "ended_at" in told(engine)[1][1]


def test_a_status_is_told_by_the_applier(engine: Engine) -> None:
    """A bot without links has none to tell of; a linked one's row shows the new status."""
    add_delivery(engine, new_id(), "in_call_recording")
    link_the_bot(engine)
    add_delivery(engine, BOT, "in_call_not_recording")
    apply_all(engine)
    assert told(engine)[1:] == [("link.updated", ["bot_status"])]


def test_a_shared_meeting_changes_both_links(engine: Engine) -> None:
    """What one bot's look found is told of the other's link as well, each once."""
    link_the_bot(engine)
    link_the_bot(engine, OTHER_BOT)
    assert [kind for kind, _ in told(engine)] == ["link.created", "link.created"]
    result = found(0, title="Monthly")
    save_now(engine, outcome_for(owe_again(engine), bot=body(ref(0)), fetched=(result,)))
    events = [e for e in rows(engine, Event) if e.type == "link.updated"]
    assert {e.bot_id for e in events} == {BOT, OTHER_BOT}
    assert [e.data["changed"] for e in events] == [["meeting_title"], ["meeting_title"]]


def test_a_relink_and_its_settle_tell_both_states(engine: Engine) -> None:
    """Its meetings are owed for as long as nobody looked."""
    link_the_bot(engine)
    with engine.begin() as connection:
        relink(connection, [BOT])
    assert told(engine)[1:] == [("link.updated", ["meeting_state"])]
    assert link_row(engine).meeting_state == "owed"


def test_a_bot_given_up_for_crashing_is_told(engine: Engine) -> None:
    """Its links show that it failed."""
    link_the_bot(engine)
    set_bot(engine, BOT, due_at=db_now(-1), crashes=CRASH_LIMIT)
    with engine.begin() as connection:
        assert claim_suspect(connection, 20) == []
    assert told(engine)[1:] == [("link.updated", ["link_state"])]


def test_a_link_of_an_older_release_is_told_once(engine: Engine) -> None:
    """It runs beside this one during a deployment, and knows of no events."""
    link_the_bot(engine)
    with engine.begin() as connection:
        connection.execute(delete(Event))
        connection.execute(update(Link).values(updated_at=None))
    for expected in (1, 0):
        with engine.begin() as connection:
            assert adopt_links(connection, 10) == expected
    assert told(engine) == [("link.created", [])]
    assert link_row(engine).updated_at is not None


def test_a_rollback_takes_the_event_with_it(engine: Engine) -> None:
    """No event without its change."""
    add_bot(engine, BOT)
    outcome = outcome_for(take(engine), bot=body(ref(0)), fetched=(found(0),))
    with engine.connect() as connection:
        transaction = connection.begin()
        save_outcomes(connection, [outcome])
        transaction.rollback()
    assert rows(engine, Event) == []


def test_an_end_is_told_when_nothing_is_owed(engine: Engine) -> None:
    """Not by the settle that leaves a meeting owed; by the one that completes it, once."""
    add_bot(engine, BOT, status="done")
    save_now(engine, outcome_for(take(engine), bot=body(ref(0)), fetched=(owed(0),)))
    assert ended(engine) == []
    set_bot(engine, BOT, due_at=db_now(-1))
    save_now(engine, outcome_for(take(engine), bot=body(ref(0)), fetched=(found(0),)))
    (data,) = ended(engine)
    assert (data["bot_id"], data["status"], data["link_state"]) == (BOT, "done", "linked")
    assert data["recordings"] == []
    assert [link["meeting_title"] for link in data["links"]] == ["Weekly"]
    again = outcome_for(owe_again(engine), bot=body(ref(0)), fetched=(found(0),))
    save_now(engine, again)
    assert len(ended(engine)) == 1
    news = outcome_for(owe_again(engine), bot=body(ref(0)), fetched=(found(0, title="New"),))
    save_now(engine, news)
    assert [data["links"][0]["meeting_title"] for data in ended(engine)] == ["Weekly", "New"]


def hear(engine: Engine, statuses: Iterable[Status]) -> None:
    """Let a webhook tell of each, and apply them."""
    hear_of(engine, BOT, statuses)
    apply_all(engine)


def forget_and_fill(engine: Engine) -> None:
    """Write a status as a release before 0014 did, and fill in what came of the bot."""
    set_bot(engine, BOT, recorded=None)
    with engine.begin() as connection:
        upsert(
            connection,
            _STATUSES,
            [{"bot_id": BOT, "code": "in_call_recording", "occurred_at": later(1)}],
        )
        assert fill_outcomes(connection, 10) == 1


def ended(engine: Engine) -> list[dict[str, Any]]:
    """What was told of ended bots."""
    return [event.data for event in rows(engine, Event, type="bot.ended")]


ENDED = [Status("joining_call", later(0)), Status("call_ended", later(2)), Status("done", later(3))]
CORRECTIONS: dict[str, Callable[[Engine], None]] = {
    "a late status": lambda engine: hear(engine, [Status("in_call_recording", later(1))]),
    "a worse end": lambda engine: hear(engine, [Status("fatal", later(9), "bot_errored")]),
    "a recording": lambda engine: arrive(engine, webhook("recording.done", later(60))),
    "List Bots": lambda engine: list_bot(
        engine, BOT, [*ENDED, Status("in_call_recording", later(1))]
    ),
    "a fill": forget_and_fill,
}


@pytest.mark.parametrize("name", CORRECTIONS)
def test_the_end_is_told_anew_when_it_proves_to_be_another(engine: Engine, name: str) -> None:
    """Whoever writes it; not again by a repeat, and not of a bot whose end was never told."""
    hear(engine, ENDED)
    save_now(engine, outcome_for(take(engine), bot=body(ref(0)), fetched=(found(0),)))
    (first,) = ended(engine)
    assert (first["status"], first["recorded"], first["recordings"]) == ("done", False, [])
    for _ in range(2):
        CORRECTIONS[name](engine)
        assert len(ended(engine)) == 2
    last = ended(engine)[-1]
    assert last["recorded"] or last["status"] == "fatal"
    assert last["links"][0]["recorded"] == last["recorded"]
    set_bot(engine, BOT, ended_digest=None, recorded=None)
    CORRECTIONS["a late status"](engine)
    assert len(ended(engine)) == 2


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_who_change_one_link_at_once_each_tell_their_part(
    engine: Engine, make_settings: MakeSettings
) -> None:
    """Of one meeting by one of them alone; and what is told last is how the link stands."""
    link_the_bot(engine)
    other = make_engine(make_settings(), "write", pool_size=2)
    is_in, may_go = threading.Event(), threading.Event()

    def rename(connection: Connection, words: str) -> None:
        meeting = update(CalendarMeeting).where(CalendarMeeting.id == MEETINGS[0])
        connection.execute(meeting.values(ical_uid=words))

    def name_it() -> None:
        with other.begin() as connection, watch_links(connection, meeting_ids=[MEETINGS[0]]):
            is_in.set()
            may_go.wait(10)
            rename(connection, "Both")

    def name_it_too() -> None:
        with other.begin() as connection, watch_links(connection, meeting_ids=[MEETINGS[0]]):
            rename(connection, "Both")

    threads = [threading.Thread(target=name_it), threading.Thread(target=name_it_too)]
    threads[0].start()
    assert is_in.wait(10)
    threads[1].start()
    with engine.begin() as connection:
        lock_bots(connection, [BOT])
        with watch_links(connection, bot_ids=[BOT]):
            connection.execute(update(Bot).values(status="in_call_recording"))
    may_go.set()
    for thread in threads:
        thread.join(10)
    other.dispose()
    assert told(engine)[1:] == [
        ("link.updated", ["bot_status"]),
        ("link.updated", ["ical_uid"]),
    ]
    last = rows(engine, Event)[-1].data["link"]
    assert (last["bot_status"], last["ical_uid"]) == ("in_call_recording", "Both")
