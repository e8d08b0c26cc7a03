"""The drain against a real HTTP Recall and a real database: every bot gets linked or explained."""

import gc
import queue
import threading
import time
import weakref

import pytest
from redis import Redis
from sqlalchemy import Engine, event, update

from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link, LinkAttempt
from models.tables.workspace_state import WorkspaceState
from tests.conftest import MakeContext
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.world.shapes import Bot as FakeBot
from tests.support.fakes import START
from tests.support.ids import new_id
from tests.support.processes import until
from tests.support.rows import add_bot, add_delivery, bot_row, count, later, rows, set_bot
from workers.db.transactions import Database
from workers.linking.apply_deliveries import apply_batch
from workers.linking.drain import Drain
from workers.queue.jobs import links_queue, queue_name
from workers.recall_api.schemas import Body, BotBody, read_bot
from workers.shutdown import Stop


def due(engine: Engine, *bots: FakeBot) -> None:
    """Make these bots due by a webhook."""
    for bot in bots:
        add_delivery(engine, bot.id, "joining_call")


def linked(recall: FakeRecall, meetings: int = 1) -> FakeBot:
    """A bot at Recall that so many users' meetings are linked to."""
    users = [recall.build.user() for _ in range(meetings)]
    first = recall.build.meeting(users[0])
    return recall.build.bot([first, *(recall.build.copy(first, user) for user in users[1:])])


def states(engine: Engine) -> dict[str, str]:
    """Each bot's link_state."""
    return {row.id: row.link_state for row in rows(engine, Bot)}


def is_known(engine: Engine, key: str) -> bool:
    """Whether this key of workspace_state exists."""
    return bool(rows(engine, WorkspaceState, key=key))


def test_one_drain_takes_webhooks_to_links(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """Many bots, shared ones and ad hoc ones among them."""
    bots = recall.build.populate(40)
    due(engine, *bots)
    assert Drain(make_context(), Stop()).run() == 40
    assert states(engine) == {
        bot.id: "linked" if bot.calendar_meetings else "no_meetings" for bot in bots
    }
    assert count(engine, Link) == sum(len(bot.calendar_meetings) for bot in bots)
    assert all(row.title for row in rows(engine, CalendarMeeting))


def test_the_terminal_event_costs_one_call_where_nothing_moved(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """And the moved meeting's one more."""
    still, moved = linked(recall), linked(recall)
    due(engine, still, moved)
    Drain(make_context(), Stop()).run()
    meeting = recall.world.meetings[moved.calendar_meetings[0].id]
    recall.world.reschedule(meeting.id, later(3600), later(7200))
    recall.calls.clear()
    for bot in (still, moved):
        add_delivery(engine, bot.id, "done", occurred_at=later(60))
    Drain(make_context(), Stop()).run()
    assert len(recall.calls.all("bot/{id}")) == 2
    assert [call.path for call in recall.calls.all("calendar/meetings/{id}")] == [
        f"/api/v1/calendar/meetings/{meeting.id}/"
    ]
    assert recall.calls.all("calendar/authenticate") == []
    assert bot_row(engine, still.id).sealed_at is not None


def test_an_event_between_costs_no_call(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """No status polling, ever."""
    bot = linked(recall)
    due(engine, bot)
    Drain(make_context(), Stop()).run()
    recall.calls.clear()
    for seconds, code in enumerate(["in_waiting_room", "in_call_recording", "call_ended"], 1):
        add_delivery(engine, bot.id, code, occurred_at=later(seconds))
    Drain(make_context(), Stop()).run()
    assert recall.calls.all() == []
    assert bot_row(engine, bot.id).status == "call_ended"


def test_only_what_is_owed_is_fetched_again(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """A partial bot's retry does not fetch the bot."""
    bot = linked(recall, meetings=3)
    owed = bot.calendar_meetings[1].id
    recall.faults.add(Fault(path="calendar/meetings/{id}", match=owed, times=1, status=503))
    due(engine, bot)
    Drain(make_context(), Stop()).run()
    assert states(engine) == {bot.id: "partial"}
    set_bot(engine, bot.id, due_at=db_now(-1))
    recall.calls.clear()
    Drain(make_context(), Stop()).run()
    assert states(engine) == {bot.id: "linked"}
    assert recall.calls.counts() == {"GET calendar/meetings/{id} 200": 1}


def test_a_429_makes_everybody_wait_and_counts_no_attempt(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """In the database too, for workers whose Redis is away."""
    recall.faults.add(Fault(path="bot/{id}", times=1, status=429, headers={"Retry-After": "120"}))
    bots = [linked(recall) for _ in range(3)]
    due(engine, *bots)
    one = make_context(WORKER_THREADS=1)
    Drain(one, Stop()).run()
    assert len(recall.calls.all("bot/{id}")) == 1
    assert {row.attempts for row in rows(engine, Bot)} == {0}
    assert Drain(make_context(), Stop()).run() == 0
    assert len(recall.calls.all("bot/{id}")) == 1
    assert is_known(engine, "closed:bot_get")


def test_a_refused_key_opens_the_circuit_and_one_bot_tries_it_later(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """Five minutes of silence, then a probe, then everybody."""
    name = recall.faults.add(Fault(path="bot/{id}", status=401))
    bots = [linked(recall) for _ in range(6)]
    due(engine, *bots)
    one = make_context(WORKER_THREADS=1)
    Drain(one, Stop()).run()
    assert len(recall.calls.all("bot/{id}")) == 1
    assert is_known(engine, "circuit")
    assert Drain(one, Stop()).run() == 0
    assert {(row.attempts, row.link_state) for row in rows(engine, Bot)} == {(0, "pending")}
    _let_time_pass(engine)
    Drain(make_context(), Stop()).run()
    assert len(recall.calls.all("bot/{id}")) == 2
    recall.faults.remove(name)
    _let_time_pass(engine)
    Drain(make_context(), Stop()).run()
    assert set(states(engine).values()) == {"linked"}
    assert not is_known(engine, "circuit")


def _let_time_pass(engine: Engine) -> None:
    """Move every wait five minutes into the past."""
    with engine.begin() as connection:
        passed = {"until": "2026-01-01T00:00:00+00:00"}
        connection.execute(update(WorkspaceState).values(value=passed))
        connection.execute(update(Bot).where(Bot.due_at.is_not(None)).values(due_at=db_now(-1)))


def test_a_stop_in_mid_drain_gives_back_what_is_not_done(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No crash is counted, and the bots are due as before."""
    monkeypatch.setattr("workers.linking.drain.STOP_SECONDS", 0.2)
    recall.faults.add(Fault(act="hang", path="bot/{id}"))
    bots = [linked(recall) for _ in range(3)]
    due(engine, *bots)
    stop = Stop()

    def stop_when_called() -> None:
        recall.calls.wait_for(lambda call: call.template == "bot/{id}")
        stop.request()

    stopper = threading.Thread(target=stop_when_called)
    stopper.start()
    started = time.monotonic()
    Drain(make_context(), stop).run()
    stopper.join()
    assert time.monotonic() - started < 10
    found = rows(engine, Bot)
    assert {(row.lease_token, row.crashes, row.attempts) for row in found} == {(None, 0, 0)}
    assert all(row.due_at is not None for row in found)


def test_what_the_end_cuts_is_partial_and_due_at_once(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bot with many slow meetings makes progress in each drain."""
    monkeypatch.setattr("workers.linking.drain.CLAIM_SECONDS", 0.5)
    monkeypatch.setattr("workers.linking.drain.DRAIN_SECONDS", 1.0)
    bot = linked(recall, meetings=8)
    recall.faults.add(Fault(act="slow", path="calendar/meetings/{id}", delay=0.25))
    due(engine, bot)
    Drain(make_context(), Stop()).run()
    row = bot_row(engine, bot.id)
    assert (row.link_state, row.attempts, row.crashes) == ("partial", 0, 0)
    done = sum(meeting.state == "found" for meeting in rows(engine, CalendarMeeting))
    assert 0 < done < 8
    while bot_row(engine, bot.id).link_state != "linked":
        assert Drain(make_context(), Stop()).run() == 1
    assert len(recall.calls.all("bot/{id}")) == 1


def test_a_lease_is_renewed_while_a_slow_call_lasts(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """A second worker finds nothing to claim meanwhile."""
    bot = linked(recall)
    recall.faults.add(Fault(act="slow", path="bot/{id}", delay=2.5))
    due(engine, bot)
    slow = make_context(LEASE_SECONDS=1)
    drain = threading.Thread(target=Drain(slow, Stop()).run)
    drain.start()
    recall.calls.wait_for(lambda call: call.template == "bot/{id}")
    second = make_context(LEASE_SECONDS=1)
    until = time.monotonic() + 2
    claimed = 0
    while time.monotonic() < until and drain.is_alive():
        claimed += Drain(second, Stop()).run()
    drain.join()
    assert claimed == 0
    assert states(engine) == {bot.id: "linked"}


def test_an_event_that_lands_in_mid_link_is_linked_by_the_same_drain(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """It is applied while calls are in progress, and the bot stays due after the save."""
    bot = linked(recall)
    recall.faults.add(Fault(act="slow", path="bot/{id}", times=1, delay=1.5))
    due(engine, bot)
    drain = threading.Thread(target=Drain(make_context(), Stop()).run)
    drain.start()
    while not count(engine, Bot):
        time.sleep(0.02)
    add_delivery(engine, bot.id, "done", occurred_at=later(60))
    drain.join()
    assert len(recall.calls.all("bot/{id}")) == 2
    row = bot_row(engine, bot.id)
    assert (row.status, row.due_at, row.link_state) == ("done", None, "linked")
    assert row.sealed_at is not None


def test_two_drains_at_once_link_each_bot_once(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """Two workers, one queue in SQL."""
    bots = [linked(recall) for _ in range(30)]
    due(engine, *bots)
    drains = [threading.Thread(target=Drain(make_context(), Stop()).run) for _ in range(2)]
    for drain in drains:
        drain.start()
    for drain in drains:
        drain.join()
    assert len(recall.calls.all("bot/{id}")) == 30
    assert set(states(engine).values()) == {"linked"}
    assert count(engine, LinkAttempt) == 30


def test_a_bug_in_linking_costs_an_attempt_and_no_thread(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next bot is linked by the same thread."""
    bad, good = linked(recall), linked(recall)
    due(engine, bad, good)

    def broken(body: Body, bot_id: str) -> BotBody:
        if bot_id == bad.id:
            raise ZeroDivisionError
        return read_bot(body, bot_id)

    monkeypatch.setattr("workers.recall_api.client.read_bot", broken)
    Drain(make_context(WORKER_THREADS=1), Stop()).run()
    assert states(engine) == {bad.id: "pending", good.id: "linked"}
    assert bot_row(engine, bad.id).last_error.startswith("internal: ")


def test_a_suspect_is_linked_alone_and_cleared(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """A bot that was only next to a crash is no suspect afterwards."""
    suspect, other = linked(recall), linked(recall)
    for bot, crashes in ((suspect, 3), (other, 0)):
        add_bot(engine, bot.id, crashes=crashes, due_at=db_now(-60 if crashes else -1))
    Drain(make_context(), Stop()).run()
    assert states(engine) == {suspect.id: "linked", other.id: "linked"}
    assert bot_row(engine, suspect.id).crashes == 0
    first = recall.calls.all("bot/{id}")[0]
    assert first.about == suspect.id


def test_a_bot_unknown_at_recall_is_given_up_after_ten_minutes(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """It may be another region's, or too new."""
    unknown = new_id()
    add_bot(engine, unknown)
    Drain(make_context(), Stop()).run()
    row = bot_row(engine, unknown)
    # A back-off is drawn from zero: the same drain may have tried it again.
    assert row.link_state == "pending"
    assert row.attempts >= 1
    set_bot(engine, unknown, due_at=db_now(-1), owed_since=db_now(-601))
    Drain(make_context(), Stop()).run()
    row = bot_row(engine, unknown)
    assert (row.link_state, row.due_at) == ("failed", None)
    assert row.last_error.startswith("bot_not_found: ")


def test_a_relink_fetches_everything_again(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """The bot and all of its meetings are requested, whatever their state."""
    bot = linked(recall)
    due(engine, bot)
    Drain(make_context(), Stop()).run()
    recall.calls.clear()
    with engine.begin() as connection:
        connection.execute(update(CalendarMeeting).values(state="owed", reason="relink"))
    set_bot(engine, bot.id, due_seq=2, due_at=db_now(-1), owed_since=db_now())
    Drain(make_context(), Stop()).run()
    assert set(recall.calls.counts()) == {
        "GET bot/{id} 200",
        "GET calendar/meetings/{id} 200",
    }


def test_nothing_due_is_nothing_called(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """And the drain ends at once."""
    add_bot(engine, new_id(), due_at=None, status_at=START)
    started = time.monotonic()
    assert Drain(make_context(), Stop()).run() == 0
    assert time.monotonic() - started < 3
    assert recall.calls.all() == []


def test_a_drain_that_leaves_bots_behind_wakes_a_worker(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, redis_url: str
) -> None:
    """What the rate limits held back would otherwise wait for a sweep."""
    bots = [linked(recall), linked(recall)]
    due(engine, *bots)
    # Three calls a minute: one bot's may be looked up, the other's turn is far away.
    tools = make_context(REDIS_URL=redis_url, RECALL_RATE_SHARE=1)
    queue = links_queue(Redis.from_url(redis_url), queue_name(tools.settings))
    assert Drain(tools, Stop()).run() == 1
    assert queue.count == 1
    assert queue.get_job_ids()
    queue.delete(delete_jobs=True)
    assert Drain(make_context(REDIS_URL=redis_url), Stop()).run() == 1
    assert queue.count == 0


def test_a_drain_ends_with_its_last_bot(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later wake-up starts the next drain; this one does not wait for it."""
    monkeypatch.setattr("workers.linking.drain.APPLY_SECONDS", 60.0)
    monkeypatch.setattr("workers.linking.claiming.IDLE_SECONDS", 60.0)
    due(engine, linked(recall))
    started = time.monotonic()
    assert Drain(make_context(), Stop()).run() == 1
    assert time.monotonic() - started < 10


def test_results_are_saved_together(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """Fewer transactions than bots, while threads are busy."""
    bots = [linked(recall) for _ in range(24)]
    due(engine, *bots)
    tools = make_context(WORKER_THREADS=8)
    commits = 0

    def count_commit(_: object) -> None:
        nonlocal commits
        commits += 1

    event.listen(tools.engine, "commit", count_commit)
    assert Drain(tools, Stop()).run() == 24
    assert set(states(engine).values()) == {"linked"}
    # A bot's own claim, token, save and look-up would be four each.
    assert commits < 3 * 24


def test_a_backlog_is_applied_while_bots_are_linked(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch a turn, and a small one first, so that neither threads nor leases wait for it."""
    turns: list[tuple[int, int]] = []

    def apply(database: Database, size: int) -> int:
        leased = sum(row.lease_token is not None for row in rows(engine, Bot))
        turns.append((size, leased))
        return apply_batch(database, size)

    monkeypatch.setattr("workers.linking.drain.BATCH", 4)
    monkeypatch.setattr("workers.linking.drain.apply_batch", apply)
    due(engine, *(linked(recall) for _ in range(18)))
    assert Drain(make_context(WORKER_THREADS=2), Stop()).run() == 18
    # As many as there are threads, then a whole batch while those are at work.
    assert turns[0] == (2, 0)
    assert turns[1][0] == 4
    assert turns[1][1] >= 1
    assert set(states(engine).values()) == {"linked"}


def test_a_drain_that_is_over_leaves_nothing_behind(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """A worker has one stop for thousands of drains, which kept the inbox of each."""
    inboxes: list[weakref.ref[queue.SimpleQueue[object]]] = []

    class Watched(Stop):
        def wakes(self, inbox: "queue.SimpleQueue[object]") -> None:
            inboxes.append(weakref.ref(inbox))
            super().wakes(inbox)

    due(engine, linked(recall))
    stop, tools = Watched(), make_context()
    Drain(tools, stop).run()
    Drain(tools, stop).run()

    def are_gone() -> bool:
        gc.collect()
        return [inbox() for inbox in inboxes] == [None, None]

    until(are_gone, "the end of both inboxes")
