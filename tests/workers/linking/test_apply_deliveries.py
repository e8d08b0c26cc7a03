"""Deliveries into bots: the same end whatever the order, and nothing owed twice."""

import itertools
import random
import threading

import pytest
from sqlalchemy import Engine, event

from models.core.bot_status import Status
from models.tables.bot import Bot, BotStatus
from models.tables.delivery import Delivery
from tests.support.fakes import BOT, START
from tests.support.ids import new_id
from tests.support.rows import add_bot, add_delivery, bot_row, count, later, rows, set_bot
from workers.linking.apply_deliveries import BotState, apply_all, apply_batch


def applied_all(engine: Engine) -> bool:
    """Whether no accepted delivery is left over."""
    found = rows(engine, Delivery, outcome="accepted")
    return all(row.applied_at is not None for row in found)


def state_after(*statuses: Status) -> BotState:
    """Fold statuses in the order given, as one bot hears them."""
    state = BotState(BOT, statuses[0], START)
    for status in statuses:
        state = state.after(status)
    return state


LIFE = [
    Status("joining_call", later(0)),
    Status("in_call_recording", later(20)),
    Status("call_ended", later(30)),
    Status("done", later(31)),
    Status("media_expired", later(90)),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(LIFE)))))
def test_every_order_of_arrival_ends_the_same(order: tuple[int, ...]) -> None:
    """The terminal status wins, and what comes after it reopens nothing."""
    state = state_after(*(LIFE[n] for n in order))
    assert state.status == LIFE[3]


@pytest.mark.parametrize(
    ("one", "other", "winner"),
    [
        (Status("in_call_recording", START), Status("in_waiting_room", START), "in_call_recording"),
        (Status("in_call_not_recording", later(9)), Status("in_call_recording", START), None),
        (Status("done", START), Status("call_ended", later(60)), "done"),
        (Status("fatal", START), Status("joining_call", later(5)), "fatal"),
        (Status("done", START), Status("fatal", later(1)), "fatal"),
        (Status("media_expired", later(99)), Status("ready", START), "ready"),
        (Status("breakout_room_left", START), Status("joining_call", START), "breakout_room_left"),
        (Status("breakout_room_left", START), Status("call_ended", START), "call_ended"),
    ],
)
def test_the_later_of_two_statuses(one: Status, other: Status, winner: str | None) -> None:
    """Terminal first, then time, then rank in a bot's life; an unknown code ranks in mid-life."""
    expected = winner or one.code
    assert state_after(one, other).status.code == expected
    assert state_after(other, one).status.code == expected


def test_a_bot_is_owed_at_its_first_informative_event_and_at_its_first_terminal_one() -> None:
    """Nothing between causes a call."""
    ready = Status("ready", later(-9))
    assert state_after(ready).due_seq == 0
    seqs = [state_after(ready, *LIFE[:n]).due_seq for n in range(1, 6)]
    assert seqs == [1, 1, 1, 2, 2]
    assert state_after(LIFE[3], LIFE[0], LIFE[3]).due_seq == 1


def test_a_delivery_becomes_a_bot_that_is_due(engine: Engine) -> None:
    """With its status, its history, and the debt of its link."""
    delivery_id = add_delivery(engine, BOT, "joining_call", sub_code="x", message="hello")
    assert apply_all(engine) == 1
    bot = bot_row(engine, BOT)
    assert (bot.status, bot.sub_code, bot.status_at) == ("joining_call", "x", START)
    assert (bot.link_state, bot.due_seq, bot.attempts, bot.crashes) == ("pending", 1, 0, 0)
    assert bot.due_at == bot.owed_since
    assert bot.due_at is not None
    (status,) = rows(engine, BotStatus)
    assert (status.code, status.message, status.delivery_id) == (
        "joining_call",
        "hello",
        delivery_id,
    )
    assert applied_all(engine)
    assert apply_all(engine) == 0


def test_ready_alone_makes_no_bot_due(engine: Engine) -> None:
    """It is sent hours before a bot joins."""
    add_delivery(engine, BOT, "ready")
    apply_all(engine)
    bot = bot_row(engine, BOT)
    assert (bot.status, bot.due_at, bot.due_seq) == ("ready", None, 0)


def test_the_same_transition_of_both_generations_is_one_status(engine: Engine) -> None:
    """Two message ids, one row of history."""
    add_delivery(engine, BOT, "done", event="bot.status_change")
    add_delivery(engine, BOT, "done", event="bot.done")
    apply_all(engine)
    assert count(engine, BotStatus) == 1
    assert bot_row(engine, BOT).due_seq == 1


def test_a_new_reason_resets_the_debt_and_reopens_a_failed_bot(engine: Engine) -> None:
    """The terminal event gives a bot that was given up another chance."""
    spent = {"link_state": "failed", "attempts": 9, "crashes": 3, "due_at": None}
    add_bot(engine, BOT, **spent, owed_since=START)
    add_delivery(engine, BOT, "done", occurred_at=later(60))
    apply_all(engine)
    bot = bot_row(engine, BOT)
    assert (bot.link_state, bot.attempts, bot.crashes, bot.due_seq) == ("pending", 0, 0, 2)
    assert bot.owed_since > START
    assert bot.due_at is not None


def test_an_event_that_is_no_reason_leaves_the_debt_alone(engine: Engine) -> None:
    """Also while the bot is leased."""
    add_bot(engine, BOT, attempts=4, due_at=None, lease_token="lease", link_state="linked")
    add_delivery(engine, BOT, "in_call_recording", occurred_at=later(60))
    apply_all(engine)
    bot = bot_row(engine, BOT)
    assert (bot.status, bot.attempts, bot.due_at) == ("in_call_recording", 4, None)
    assert (bot.lease_token, bot.link_state, bot.due_seq) == ("lease", "linked", 1)


def test_what_is_not_accepted_is_not_applied(engine: Engine) -> None:
    """A recording that is done makes no bot."""
    add_delivery(engine, BOT, None, outcome="ignored", reason="not_a_bot_status")
    add_delivery(engine, None, None, outcome="malformed", reason="not_json")
    assert apply_all(engine) == 0
    assert count(engine, Bot) == 0


def test_many_batches_are_applied_whole(engine: Engine) -> None:
    """Shuffled lives of many bots, more than one batch holds."""
    bots = [new_id() for _ in range(150)]
    events = [(bot, status) for bot in bots for status in LIFE[:4]]
    random.Random(3).shuffle(events)
    for bot, status in events:
        add_delivery(engine, bot, status.code, occurred_at=status.occurred_at)
    assert apply_all(engine) == 600
    found = rows(engine, Bot)
    assert {(row.status, row.status_at) for row in found} == {("done", later(31))}
    assert len(found) == 150
    assert count(engine, BotStatus) == 600


@pytest.mark.parametrize("poison", [{"bot_id": None}, {"code": None}, {"occurred_at": None}])
def test_a_delivery_that_poisons_its_batch_blocks_no_other(
    engine: Engine, poison: dict[str, None]
) -> None:
    """It becomes malformed, with its body kept; the rest is applied."""
    other = new_id()
    add_delivery(engine, BOT, "joining_call")
    bad = add_delivery(engine, **{"bot_id": BOT, "code": "done", **poison})
    add_delivery(engine, other, "done")
    apply_all(engine)
    (kept,) = rows(engine, Delivery, id=bad)
    assert (kept.outcome, kept.reason, kept.body) == ("malformed", "apply_failed", b"{}")
    assert {row.id: row.status for row in rows(engine, Bot)} == {BOT: "joining_call", other: "done"}
    assert applied_all(engine)


def test_two_appliers_at_once_apply_each_delivery_once(engine: Engine) -> None:
    """One waits for the other; neither fails, and a bot's seq is not raised twice."""
    bots = [new_id() for _ in range(40)]
    for bot in bots:
        add_delivery(engine, bot, "joining_call")
        add_delivery(engine, bot, "done", occurred_at=later(60))
    failures: list[Exception] = []

    def run() -> None:
        try:
            while apply_batch(engine, size=7):
                pass
        except Exception as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {(row.status, row.due_seq) for row in rows(engine, Bot)} <= {("done", 1), ("done", 2)}
    assert applied_all(engine)


def test_a_batch_that_dies_before_its_commit_leaves_no_trace(engine: Engine) -> None:
    """The next one does it all."""
    add_delivery(engine, BOT, "done")

    def die(*_: object) -> None:
        raise ConnectionAbortedError

    event.listen(engine, "commit", die)
    with pytest.raises(ConnectionAbortedError):
        apply_all(engine)
    event.remove(engine, "commit", die)
    assert count(engine, Bot) == 0
    assert apply_all(engine) == 1
    assert bot_row(engine, BOT).status == "done"


def test_a_late_event_reopens_no_settled_bot(engine: Engine) -> None:
    """27 hours late, it only fills the history."""
    add_bot(engine, BOT, status="done", status_at=later(60), due_at=None, link_state="linked")
    set_bot(engine, BOT, due_seq=2)
    add_delivery(engine, BOT, "joining_call", occurred_at=later(-60))
    add_delivery(engine, BOT, "media_expired", occurred_at=later(9000))
    apply_all(engine)
    bot = bot_row(engine, BOT)
    assert (bot.status, bot.due_at, bot.due_seq) == ("done", None, 2)
    assert count(engine, BotStatus) == 2
