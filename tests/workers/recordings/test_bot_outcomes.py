"""What came of bots in their rows: the same end for any order, split or repeat of the news."""

import random
import re
import runpy
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, insert, text, update

from models.core.bot_status import Status
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from models.tables.event import Event
from models.tables.hourly_count import BOT_END, TOTAL, HourlyCount
from models.tables.recording import Recording
from tests.conftest import MakeContext
from tests.lab.recall import FakeRecall
from tests.support.fakes import BOT
from tests.support.ids import new_id
from tests.support.rows import add_bot, add_delivery, bot_row, later, rows, set_bot
from workers.linking.apply_deliveries import apply_batch
from workers.linking.drain import Drain
from workers.linking.relink import relink
from workers.recall_api.bot_list import ListedBot
from workers.reconcile.merge import merge
from workers.recordings.bot_outcomes import (
    EVERY_SECONDS,
    OutcomeFill,
    fill_outcomes,
    refresh_outcomes,
)
from workers.shutdown import Stop

MIGRATION = Path(__file__).parents[3] / "migrations/versions/0015_fill_recorded.py"
LIVES = {
    "recorded": (
        ("joining_call", None),
        ("in_call_not_recording", None),
        ("in_call_recording", None),
        ("in_call_not_recording", None),
        ("in_call_recording", None),
        ("call_ended", "call_ended_by_host"),
        ("recording_done", None),
        ("done", None),
    ),
    "not let in": (
        ("joining_call", None),
        ("in_waiting_room", None),
        ("call_ended", "timeout_exceeded_waiting_room"),
        ("done", None),
    ),
    "fatal": (("joining_call", None), ("fatal", "meeting_locked")),
    "older": (("in_call_not_recording", None), ("done", "timeout_exceeded_noone_joined")),
    "live": (("joining_call", None), ("in_call_recording", None)),
}
OUTCOMES = {
    "recorded": (True, later(2), later(5), "call_ended_by_host"),
    "not let in": (False, None, None, "timeout_exceeded_waiting_room"),
    "fatal": (False, None, None, "meeting_locked"),
    "older": (False, None, None, "timeout_exceeded_noone_joined"),
    "live": (None, later(1), None, None),
}


def life(name: str) -> list[Status]:
    """One bot's statuses, a second apart."""
    return [Status(code, later(n), sub) for n, (code, sub) in enumerate(LIVES[name])]


def outcome(engine: Engine, bot_id: str = BOT) -> tuple[Any, ...]:
    """What the bot's row says came of it."""
    row = bot_row(engine, bot_id)
    return row.recorded, row.recorded_from, row.recorded_until, row.ended_sub_code


def hear(engine: Engine, bot_id: str, statuses: Iterable[Status]) -> None:
    """Let a webhook tell of each."""
    for status in statuses:
        add_delivery(
            engine,
            bot_id,
            status.code,
            sub_code=status.sub_code,
            occurred_at=status.occurred_at,
        )


def list_bot(engine: Engine, bot_id: str, statuses: Iterable[Status]) -> None:
    """Let a page of List Bots tell of them."""
    with engine.begin() as connection:
        merge(connection, [ListedBot(bot_id, tuple(statuses))], later(9999), 0, 0)


def store(engine: Engine, bot_id: str, statuses: Iterable[Status]) -> None:
    """Write a history as a release before 0014 did: without what came of it."""
    told = [
        {"bot_id": bot_id, "code": s.code, "occurred_at": s.occurred_at, "sub_code": s.sub_code}
        for s in statuses
    ]
    with engine.begin() as connection:
        connection.execute(insert(BotStatus), told)


def add_recording(engine: Engine, status: str, **fields: Any) -> str:
    """Store a recording of the bot; returns its id."""
    recording_id = new_id()
    row = {"id": recording_id, "bot_id": BOT, "status": status, "source": "webhook"}
    with engine.begin() as connection:
        connection.execute(insert(Recording).values(**row | {"seen_at": later(0)} | fields))
        refresh_outcomes(connection, [BOT])
    return recording_id


@pytest.mark.parametrize("seed", range(8))
def test_any_order_and_any_split_of_the_news_ends_the_same(engine: Engine, seed: int) -> None:
    """Webhooks, repeated, in batches of any size, with List Bots between them."""
    chance = random.Random(seed)
    bots = {name: new_id() for name in LIVES}
    told = [(name, status) for name in LIVES for status in life(name)]
    told += chance.sample(told, 5)
    chance.shuffle(told)
    for name, status in told:
        if chance.random() < 0.2:
            list_bot(engine, bots[name], [status])
        else:
            hear(engine, bots[name], [status])
        if chance.random() < 0.4:
            apply_batch(engine, chance.randint(1, 4))
    while apply_batch(engine, 3):
        pass
    assert {name: outcome(engine, bot) for name, bot in bots.items()} == OUTCOMES


def test_an_outcome_is_unknown_then_false_then_true(engine: Engine) -> None:
    """A status that comes late makes it truer; nothing takes it back."""
    seen = []
    for status in life("recorded")[::-1]:
        hear(engine, BOT, [status])
        apply_batch(engine)
        seen.append(bot_row(engine, BOT).recorded)
    assert seen == [False, False, False, True, True, True, True, True]
    with engine.begin() as connection:
        connection.execute(delete(BotStatus).where(BotStatus.code == "in_call_recording"))
        assert refresh_outcomes(connection, [BOT]) == []
    assert outcome(engine)[:3] == (True, later(2), later(5))


@pytest.mark.parametrize(
    ("status", "recorded"),
    [
        ("done", True),
        ("deleted", False),
        ("media_expired", False),
        ("cancelled", False),
        ("processing", False),
        ("paused", False),
        ("failed", False),
    ],
)
def test_a_recording_that_holds_says_that_the_bot_recorded(
    engine: Engine, status: str, recorded: bool
) -> None:
    """One that was never done says nothing: what failed may be deleted and expires too."""
    hear(engine, BOT, life("older"))
    apply_batch(engine)
    add_recording(engine, status, started_at=later(3), completed_at=later(4))
    assert bot_row(engine, BOT).recorded is recorded
    assert bot_row(engine, BOT).recorded_from == (later(3) if recorded else None)


def test_a_recording_of_a_bot_that_is_not_on_file_counts_once_it_is(engine: Engine) -> None:
    """The webhook of a recording may be the first of its bot."""
    add_recording(engine, "done")
    assert rows(engine, Bot) == []
    hear(engine, BOT, life("older"))
    apply_batch(engine)
    assert bot_row(engine, BOT).recorded is True


def test_only_a_change_is_told_as_one(engine: Engine) -> None:
    """Whoever tells others of it asks for this."""
    add_bot(engine, BOT)
    store(engine, BOT, life("fatal"))
    with engine.begin() as connection:
        assert refresh_outcomes(connection, [BOT, new_id()]) == [BOT]
        assert refresh_outcomes(connection, [BOT]) == []
        assert refresh_outcomes(connection, []) == []


def test_bots_that_an_older_release_wrote_are_filled_in(engine: Engine) -> None:
    """A batch at a time, then once a minute; a bot whose call goes on is left alone."""
    bots = {name: new_id() for name in LIVES}
    for name, bot_id in bots.items():
        add_bot(engine, bot_id)
        store(engine, bot_id, life(name))
    with engine.begin() as connection:
        assert [fill_outcomes(connection, 3) for _ in range(3)] == [3, 1, 0]
    del bots["live"]
    assert {name: outcome(engine, bot) for name, bot in bots.items()} == {
        name: OUTCOMES[name] for name in bots
    }
    now = 0.0
    fill = OutcomeFill(engine, lambda: now)
    assert fill.fill_when_due() == 0
    set_bot(engine, bots["fatal"], recorded=None)
    assert fill.fill_when_due() == 0
    now = EVERY_SECONDS
    assert fill.fill_when_due() == 1


def test_list_bots_mends_what_an_older_release_left_untold(engine: Engine) -> None:
    """Its applier wrote the last status after ours had written that nothing was recorded."""
    hear(engine, BOT, life("older"))
    apply_batch(engine)
    store(engine, BOT, [Status("in_call_recording", later(0))])
    list_bot(engine, BOT, life("older"))
    assert bot_row(engine, BOT).recorded is True


@pytest.mark.parametrize("seed", range(6))
def test_the_migration_fills_in_the_same(engine: Engine, seed: int) -> None:
    """Whatever the history: what it fills is never looked at again."""
    chance = random.Random(seed)
    codes = sorted({code for told in LIVES.values() for code, _ in told})
    bots = [new_id() for _ in range(40)]
    for bot_id in bots:
        add_bot(engine, bot_id)
        moments = {
            (chance.choice(codes), chance.randint(0, 5)) for _ in range(chance.randint(1, 7))
        }
        subs = (None, "", "one", "two")
        store(
            engine, bot_id, [Status(code, later(at), chance.choice(subs)) for code, at in moments]
        )
    migration = runpy.run_path(str(MIGRATION))
    fill = migration["FILL_BOTS"].replace("RECORDED_UNTIL", migration["RECORDED_UNTIL"])
    statement = fill.replace("id IN :ids AND", "").format("")
    with engine.begin() as connection:
        connection.execute(text(statement))
    filled = {bot_id: outcome(engine, bot_id) for bot_id in bots}
    with engine.begin() as connection:
        refresh_outcomes(connection, bots)
    again = {bot_id: outcome(engine, bot_id) for bot_id in bots}
    known = {bot_id for bot_id, told in filled.items() if told[0] is not None}
    assert {bot: again[bot] for bot in known} == {bot: filled[bot] for bot in known}
    assert {bot for bot, told in again.items() if told[0] is not None} == known


def test_each_bot_is_counted_once_by_how_it_ended(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """When it is sealed: not before its end, and not again when it is looked up once more."""
    ended = ("done", "paused", "lobby", "kicked", "denied", "empty", "fatal")
    bots = [recall.build.bot([recall.build.meeting(recall.build.user())], outcome=o) for o in ended]
    for last in (False, True):
        for bot in bots:
            # Each but the last; then that one, which may be all there is.
            told = bot.status_changes[-1:] if last else bot.status_changes[:-1]
            for change in told:
                add_delivery(
                    engine,
                    bot.id,
                    change.code,
                    sub_code=change.sub_code,
                    occurred_at=change.created_at,
                )
        Drain(make_context(), Stop()).run()
        assert bool(ends(engine)) is last
    with engine.begin() as connection:
        assert relink(connection, [bot.id for bot in bots]) == len(bots)
        connection.execute(update(Bot).values(due_at=db_now(-1)))
    Drain(make_context(), Stop()).run()
    assert ends(engine) == {
        "recorded call_ended_by_host": 2,
        "not_admitted timeout_exceeded_waiting_room": 1,
        "not_admitted bot_kicked_from_waiting_room": 1,
        "not_recorded timeout_exceeded_recording_permission_denied": 1,
        "not_recorded timeout_exceeded_noone_joined": 1,
        "fatal meeting_not_found": 1,
    }


def test_a_sub_code_of_next_year_makes_no_counter_of_its_own(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """The set is open, and a label with anything in it could be made without end."""
    for sub_code in ("abducted_by_aliens", "lost_in_space", None):
        bot = recall.build.bot()
        bot.recordings.clear()
        bot.status_changes.clear()
        add_delivery(engine, bot.id, "fatal", sub_code=sub_code)
    Drain(make_context(), Stop()).run()
    assert ends(engine) == {"fatal other": 2, "fatal none": 1}


def ends(engine: Engine) -> dict[str, int]:
    """How many bots ended in each way, of all time."""
    return {row.label: row.count for row in rows(engine, HourlyCount, name=BOT_END, hour=TOTAL)}


def see_body(engine: Engine, statuses: Iterable[Status], bot_id: str = BOT) -> list[str]:
    """Let the bot's body have these statuses; returns whose outcome has changed."""
    with engine.begin() as connection:
        return refresh_outcomes(connection, [bot_id], {bot_id: tuple(statuses)})


def test_a_body_says_what_lost_webhooks_did_not(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """Only `done` came; a shorter body, or a webhook that comes late, takes nothing back."""
    bot = recall.build.bot()
    bot.recordings.clear()
    times = {change.code: change.created_at for change in bot.status_changes}
    add_delivery(engine, bot.id, "done", occurred_at=times["done"])
    Drain(make_context(), Stop()).run()
    expected = (True, times["in_call_recording"], times["call_ended"], "call_ended_by_host")
    assert outcome(engine, bot.id) == expected
    assert bot_row(engine, bot.id).status == "done"
    # Reconcile still finds what no webhook reported.
    assert [row.code for row in rows(engine, BotStatus)] == ["done"]
    bot.status_changes.clear()
    with engine.begin() as connection:
        relink(connection, [bot.id])
    add_delivery(engine, bot.id, "call_ended", occurred_at=times["call_ended"])
    Drain(make_context(), Stop()).run()
    assert outcome(engine, bot.id) == expected


@pytest.mark.parametrize("name", [name for name in LIVES if name != "live"])
@pytest.mark.parametrize("seed", range(4))
def test_bodies_and_webhooks_in_any_order_end_the_same(
    engine: Engine, name: str, seed: int
) -> None:
    """Half of the webhooks are lost; bodies come while the call goes on, twice and out of order."""
    chance = random.Random(seed)
    add_bot(engine, BOT)
    history = life(name)
    bodies = [history[:n] for n in range(len(history) + 1)] * 2
    news = [*bodies, *([one] for one in chance.sample(history, len(history) // 2))]
    seen = []
    for n in chance.sample(range(len(news)), len(news)):
        if n < len(bodies):
            see_body(engine, news[n])
        else:
            hear(engine, BOT, news[n])
            apply_batch(engine)
        seen.append(bot_row(engine, BOT).recorded)
    assert outcome(engine) == OUTCOMES[name]
    assert seen == sorted(seen, key=[None, False, True].index)


def test_a_body_that_says_nothing_new_writes_nothing(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """Ten settles of the same facts: one event of the end, and no write of the outcome."""
    bot = recall.build.bot()
    for change in bot.status_changes:
        add_delivery(engine, bot.id, change.code, occurred_at=change.created_at)
    context = make_context()
    Drain(context, Stop()).run()
    stored = bot_row(engine, bot.id).body_statuses
    writes: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if re.match(r"UPDATE bots SET .*(settled_at|body_statuses)=", statement, re.DOTALL):
            writes.append("outcome" if "body_statuses=" in statement else "settle")

    event.listen(context.engine, "before_cursor_execute", note)
    for _ in range(10):
        with engine.begin() as connection:
            assert relink(connection, [bot.id]) == 1
        Drain(context, Stop()).run()
    assert writes == ["settle"] * 10
    assert len(rows(engine, Event, type="bot.ended")) == 1
    assert bot_row(engine, bot.id).body_statuses == stored


def test_a_row_without_a_body_has_none(engine: Engine) -> None:
    """Rows of before stay NULL until their bot is fetched, and where its body says nothing."""
    add_bot(engine, BOT)
    hear(engine, BOT, life("recorded"))
    apply_batch(engine)
    see_body(engine, [Status("joining_call", later(0))])
    with engine.connect() as connection:
        asked = text("SELECT body_statuses IS NULL FROM bots")
        assert connection.scalar(asked)
    assert outcome(engine) == OUTCOMES["recorded"]


def test_a_body_of_thousands_of_statuses_keeps_a_few(engine: Engine) -> None:
    """The row does not grow with the call, nor with each fetch of it."""
    add_bot(engine, BOT)
    turns = ("in_call_recording", "in_call_not_recording")
    history = [Status(turns[n % 2], later(n)) for n in range(4000)]
    history.append(Status("call_ended", later(4000), "call_ended_by_host"))
    for size in (1000, 2500, 4001, 4001):
        see_body(engine, history[:size])
    assert outcome(engine) == (True, later(0), later(3999), "call_ended_by_host")
    stored = bot_row(engine, BOT).body_statuses
    assert stored is not None
    assert 0 < len(stored) <= 15


def test_times_of_a_body_that_are_off_by_a_moment_change_nothing(engine: Engine) -> None:
    """A pause has the time of the start that ends it: a little later it would be the end."""
    pause = Status("in_call_not_recording", later(3))
    history = [Status("in_call_recording", later(0)), pause, Status("in_call_recording", later(3))]
    history.append(Status("call_ended", later(9)))
    hear(engine, BOT, history)
    apply_batch(engine)
    off = timedelta(milliseconds=400)
    assert see_body(engine, [replace(pause, occurred_at=pause.occurred_at + off)]) == []
    assert outcome(engine) == (True, later(0), later(9), None)
    ended = Status("call_ended", later(9) - off, "call_ended_by_host")
    assert see_body(engine, [ended]) == [BOT]
    assert outcome(engine) == (True, later(0), later(9), "call_ended_by_host")
