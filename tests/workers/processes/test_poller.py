"""The poller: lost wake-ups, and draining without Redis."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, insert, text, update

from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarToken
from models.tables.connect_link import ConnectLink
from models.tables.delivery import Delivery
from models.tables.link import LinkAttempt
from models.tables.workspace_state import WorkspaceState
from tests.conftest import MakeContext, MakeSettings
from tests.lab.recall import FakeRecall
from tests.lab.world.clock import ManualClock
from tests.support.fakes import BOT, START
from tests.support.hooks import HookHost
from tests.support.ids import new_id
from tests.support.processes import until
from tests.support.rows import add_bot, add_delivery, bot_row, count, rows, set_bot
from workers.alerts.turns import read_alert_state
from workers.linking.backlog import look
from workers.privacy.retention import Retention
from workers.processes.poller import PATIENT_SWEEPS, Poller
from workers.queue.jobs import links_queue, queue_name
from workers.queue.redis_clients import quick_redis
from workers.shutdown import Stop


def test_with_redis_a_sweep_only_wakes_a_worker(
    engine: Engine, make_context: MakeContext, recall: FakeRecall, redis_url: str
) -> None:
    """The drain is the RQ worker's."""
    bot = recall.build.populate(1)[0]
    add_delivery(engine, bot.id, "joining_call")
    one = make_context(REDIS_URL=redis_url)
    assert Poller(one, Stop()).sweep() == 5
    client = quick_redis(one.settings)
    assert client is not None
    assert links_queue(client, queue_name(one.settings)).count == 1
    assert count(engine, Bot) == 0


@pytest.mark.parametrize("redis_set", [True, False])
def test_without_redis_a_sweep_drains_by_itself(
    engine: Engine, make_context: MakeContext, recall: FakeRecall, redis_set: bool
) -> None:
    """Whether it is away or was never there."""
    bot = recall.build.bot([recall.build.meeting(recall.build.user())])
    add_delivery(engine, bot.id, "joining_call")
    away = {"REDIS_URL": "unix:///nonexistent/redis.sock"} if redis_set else {}
    Poller(make_context(**away), Stop()).sweep()
    assert bot_row(engine, bot.id).link_state == "linked"


def test_work_that_does_not_move_after_wakeups_is_drained_here(
    engine: Engine, make_context: MakeContext, recall: FakeRecall, redis_url: str
) -> None:
    """The wake-up may have gone to a worker that hangs."""
    bot = recall.build.bot([recall.build.meeting(recall.build.user())])
    add_delivery(engine, bot.id, "joining_call")
    clock = ManualClock(0.0)
    poller = Poller(make_context(REDIS_URL=redis_url), Stop(), clock=clock)
    for _ in range(PATIENT_SWEEPS):
        poller.sweep()
        assert count(engine, Bot) == 0
        clock.advance(5)
    poller.sweep()
    assert bot_row(engine, bot.id).link_state == "linked"


def test_work_that_moves_is_left_to_those_who_move_it(
    engine: Engine, make_context: MakeContext, redis_url: str
) -> None:
    """A long backlog is no reason for a second drain."""
    add_bot(engine, BOT)
    clock = ManualClock(0.0)
    poller = Poller(make_context(REDIS_URL=redis_url), Stop(), clock=clock)
    for _ in range(6):
        poller.sweep()
        clock.advance(5)
        with engine.begin() as connection:
            moved = {"bot_id": new_id(), "started_at": START, "finished_at": START}
            connection.execute(insert(LinkAttempt).values(**moved, outcome="linked", calls=[]))
    assert bot_row(engine, BOT).crashes == 0


def test_the_next_look_is_when_the_next_bot_falls_due(
    engine: Engine, make_context: MakeContext
) -> None:
    """Not five seconds later."""
    poller = Poller(make_context(), Stop())
    assert poller.sweep() == 5
    add_bot(engine, BOT, due_at=db_now(1.5))
    assert 0 < poller.sweep() <= 1.5


def test_while_the_circuit_is_open_due_bots_are_no_work(
    engine: Engine, make_context: MakeContext
) -> None:
    """New deliveries are, since applying needs no Recall."""
    add_bot(engine, BOT)
    until = (datetime.now(UTC) + timedelta(seconds=90)).isoformat()
    state = {"key": "circuit", "value": {"until": until}, "updated_at": START}
    with engine.begin() as connection:
        connection.execute(insert(WorkspaceState).values(state))
        assert not look(connection).is_work
    add_delivery(engine, new_id(), "joining_call")
    with engine.begin() as connection:
        assert look(connection).is_work


def test_a_missing_database_is_waited_for(
    make_settings: MakeSettings, engine: Engine, make_context: MakeContext, recall: FakeRecall
) -> None:
    """The poller says so and goes on; when the tables are there, it drains."""
    bot = recall.build.bot([recall.build.meeting(recall.build.user())])
    add_delivery(engine, bot.id, "joining_call")
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE bots RENAME TO elsewhere"))
    stop = Stop()
    poller = Poller(make_context(SWEEP_SECONDS=0.1), stop)
    thread = threading.Thread(target=poller.run)
    thread.start()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO bots"))
    recall.calls.wait_for(lambda call: call.template == "calendar/meetings/{id}")
    stop.request()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert bot_row(engine, bot.id).link_state == "linked"


def test_a_stop_wakes_a_resting_poller(make_context: MakeContext) -> None:
    """It does not sleep its rest to the end."""
    stop = Stop()
    thread = threading.Thread(target=Poller(make_context(SWEEP_SECONDS=60), stop).run)
    thread.start()
    stop.request()
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_old_bodies_are_emptied_and_ids_stay(engine: Engine, make_settings: MakeSettings) -> None:
    """A late replay still finds its id; what is young keeps its body."""
    old = add_delivery(engine, BOT, "done", received_at=db_now(-31 * 86_400))
    young = add_delivery(engine, BOT, "done", received_at=db_now(-29 * 86_400))
    retention = Retention(engine, make_settings())
    assert retention.purge() == 1
    bodies = {row.id: row.body for row in rows(engine, Delivery)}
    assert bodies == {old: b"", young: b"{}"}
    assert retention.purge() == 0
    with engine.begin() as connection:
        connection.execute(update(Delivery).values(received_at=db_now(-31 * 86_400)))
    assert retention.purge() == 1


def test_old_attempts_and_expired_tokens_are_deleted(
    engine: Engine, make_settings: MakeSettings
) -> None:
    """In batches; what is young stays."""
    with engine.begin() as connection:
        for number in range(1200):
            age = db_now(-8 * 86_400) if number else db_now(-6 * 86_400)
            row = {"bot_id": BOT, "started_at": START, "finished_at": age}
            connection.execute(insert(LinkAttempt).values(**row, outcome="linked", calls=[]))
        for name, expires_at in (("old", db_now(-1)), ("new", db_now(60))):
            token = {"external_id_hash": name, "ciphertext": b"x", "fingerprint": "x"}
            connection.execute(insert(CalendarToken).values(**token, expires_at=expires_at))
    retention = Retention(engine, make_settings(RETAIN_ATTEMPT_DAYS=7))
    assert retention.purge_when_due() == 1200
    assert retention.purge_when_due() == 0
    assert count(engine, LinkAttempt) == 1
    assert [row.external_id_hash for row in rows(engine, CalendarToken)] == ["new"]


def test_connect_links_are_deleted_a_day_after_their_end(
    engine: Engine, make_settings: MakeSettings
) -> None:
    """Whom they were for stays no longer than anybody may come back by them."""
    with engine.begin() as connection:
        for name, expires_at in (("old", db_now(-86_401)), ("new", db_now(-86_000))):
            row = {"link_hash": name, "platform": "google", "sealed": b"x"}
            connection.execute(insert(ConnectLink).values(**row, expires_at=expires_at))
    assert Retention(engine, make_settings()).purge() == 1
    assert [row.link_hash for row in rows(engine, ConnectLink)] == ["new"]


def test_a_leased_bot_is_no_work(engine: Engine, make_context: MakeContext) -> None:
    """Another worker has it."""
    add_bot(engine, BOT, lease_token="x", lease_until=db_now(30))
    with engine.begin() as connection:
        assert not look(connection).is_work
    set_bot(engine, BOT, lease_until=db_now(-1))
    with engine.begin() as connection:
        assert look(connection).is_work


def test_a_poller_sends_heartbeats_and_writes_at_once_what_came_of_them(
    engine: Engine, make_context: MakeContext
) -> None:
    """Not at the next sweep, a minute later: the lease would be over by then."""

    def is_written() -> bool:
        with engine.begin() as connection:
            state = read_alert_state(connection)
        return state is not None and state.lease_token is None

    with HookHost() as host:
        stop = Stop()
        context = make_context(HEARTBEAT_URL=host.ping, SWEEP_SECONDS=60)
        thread = threading.Thread(target=Poller(context, stop).run)
        thread.start()
        until(lambda: host.pings == [""] and is_written())
        stop.request()
        thread.join(10)
        assert not thread.is_alive()
