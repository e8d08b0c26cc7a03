"""What no fault may cause: a write after a lost lease, a lost event, a bot that blocks others."""

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psutil
import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import Engine, text, update

from models.tables.base import db_now
from models.tables.bot import Bot as BotRow
from models.tables.delivery import Delivery
from models.tables.link import Link
from models.tables.schema_version import HEAD
from tests.conftest import SECRET, MakeContext
from tests.faults.injectors import frozen, kill
from tests.faults.report import note
from tests.faults.stack import PATH, RETRIES, Rig, Rigs, busy, family, named, rigs_of, words
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery as Webhook
from tests.lab.sender.events import events_of
from tests.lab.sender.sender import Sender
from tests.lab.world.shapes import Bot
from tests.support.processes import until
from tests.support.rows import add_delivery, bot_row, rows, set_bot
from workers.linking.drain import Drain
from workers.shutdown import Stop

KINDS = ("postgresql", "sqlite")
ONE_IN_CI = (pytest.param("postgresql", marks=pytest.mark.faults), "sqlite")
ADDED_TO = ("deliveries", "bots", "links", "calendar_meetings", "link_attempts")


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rigs]:
    """Stacks with crash points."""
    with rigs_of(tmp_path_factory, is_doomed=True) as rigs:
        yield rigs


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest, rigs: Rigs) -> Iterator[Rig]:
    """A stack with short leases; it is left as it was found."""
    rig = rigs("quick", request.param)
    yield rig
    rig.recall.faults.clear()
    rig.doom_file.unlink(missing_ok=True)


def linkable(rig: Rig) -> Bot:
    """A bot at Recall with one meeting."""
    return rig.recall.build.bot([rig.recall.build.meeting(rig.recall.build.user())])


def post(rig: Rig, bot: Bot, *codes: str) -> None:
    """Send the webhooks of a bot in these statuses."""
    changes = [change for change in bot.status_changes if change.code in codes]
    assert len(changes) == len(codes)
    sender = Sender(f"{rig.stack.url}{PATH}", [SECRET], retries=RETRIES)
    receipts = sender.run([Webhook.of(event) for event in events_of(bot, changes)])
    assert receipts[-1].is_taken


def row(rig: Rig, bot: Bot) -> Any:
    """The bot's row; None before it is there."""
    return next(iter(rows(rig.engine, BotRow, id=bot.id)), None)


def is_held(rig: Rig, bot: Bot) -> bool:
    """Whether somebody has leased this bot."""
    return (found := row(rig, bot)) is not None and found.lease_token is not None


def is_settled(rig: Rig, bot: Bot) -> bool:
    """Whether this bot is not due any more."""
    found = row(rig, bot)
    return found is not None and found.settled_at is not None and found.due_at is None


def test_a_worker_that_slept_past_its_lease_writes_nothing(rig: Rig) -> None:
    """Stopped in mid-call, it continues after another saved its bot: its result is discarded."""
    # Which dyno holds a bot is a guess from its processes; a wrong one loses no lease.
    assert any(has_slept_past(rig) for _ in range(5))


def has_slept_past(rig: Rig) -> bool:
    """Stop a dyno in mid-call; whether it was the holder, and found its lease lost."""
    bot = linkable(rig)
    rig.recall.faults.add(Fault(act="slow", path="bot/{id}", match=bot.id, delay=2, times=1))
    said = words(rig).count("lease lost")
    post(rig, bot, "in_call_recording")
    until(lambda: is_held(rig, bot), "a claim")
    with frozen(family(busy(rig))):
        until(lambda: is_settled(rig, bot), "the settle by another")
        settled = row(rig, bot)
    with suppress(AssertionError):
        until(lambda: words(rig).count("lease lost") > said, "a word of the lost lease", 8)
    assert row(rig, bot) == settled
    assert len(rows(rig.engine, Link, bot_id=bot.id)) == 1
    return words(rig).count("lease lost") > said


def test_a_lease_that_ends_in_mid_link_goes_to_another_and_is_settled_once(rig: Rig) -> None:
    """The holder still lives, but the database says that its lease ended."""
    bot = linkable(rig)
    rig.recall.faults.add(Fault(act="slow", path="bot/{id}", match=bot.id, delay=4, times=1))
    said = words(rig).count("lease lost")
    post(rig, bot, "in_call_recording")
    until(lambda: is_held(rig, bot), "a claim")
    first = row(rig, bot).lease_token
    until(lambda: taken_over(rig, bot, first), "a claim by another")
    until(lambda: is_settled(rig, bot), "the settle")
    settled = row(rig, bot)
    until(lambda: words(rig).count("lease lost") > said, "a word of the lost lease")
    assert row(rig, bot) == settled


def taken_over(rig: Rig, bot: Bot, first: str) -> bool:
    """End the first holder's lease; whether it is the holder no longer."""
    with rig.writing() as connection:
        mine = (BotRow.id == bot.id, BotRow.lease_token == first)
        connection.execute(update(BotRow).where(*mine).values(lease_until=db_now(-60)))
    return bool(row(rig, bot).lease_token != first)


def test_an_event_in_mid_link_is_linked_as_well(rig: Rig) -> None:
    """The bot gets another meeting when its last event arrives, during the first call."""
    bot = linkable(rig)
    rig.recall.faults.add(Fault(act="slow", path="bot/{id}", match=bot.id, delay=1.5, times=1))
    post(rig, bot, "in_call_recording")
    until(lambda: is_held(rig, bot), "a claim")
    late = rig.recall.build.copy(
        rig.recall.world.meetings[bot.calendar_meetings[0].id], rig.recall.build.user()
    )
    rig.recall.world.refer(bot.id, late.id)
    post(rig, bot, "done")
    until(lambda: is_settled(rig, bot) and row(rig, bot).sealed_at is not None, "the last settle")
    linked = {link.meeting_id for link in rows(rig.engine, Link, bot_id=bot.id)}
    assert linked == {ref.id for ref in bot.calendar_meetings}
    assert len(linked) == 2


@pytest.mark.parametrize(
    "rig", [pytest.param("postgresql", marks=pytest.mark.faults), "sqlite"], indirect=True
)
def test_a_bot_that_kills_its_worker_is_given_up_and_stops_no_other(
    rig: Rig, request: pytest.FixtureRequest
) -> None:
    """Eight crashes in a row are a crash loop; other bots are linked meanwhile."""
    bot = linkable(rig)
    rig.doom("linking", about=bot.id)
    post(rig, bot, "in_call_recording")
    with note(request.node, rig.figures), rig.under_load("a bot that kills its worker"):
        until(lambda: row(rig, bot) is not None and row(rig, bot).crashes > 1, "two deaths")
    assert row(rig, bot).link_state == "pending"
    until(lambda: row(rig, bot).link_state == "failed", "giving it up")
    assert row(rig, bot).last_error.startswith("crash_loop")
    assert rows(rig.engine, Link, bot_id=bot.id) == []
    # A new reason is a new chance.
    rig.doom_file.unlink()
    post(rig, bot, "done")
    until(lambda: row(rig, bot).link_state == "linked", "the link")


@pytest.mark.parametrize("rig", ONE_IN_CI, indirect=True)
def test_workers_whose_hints_go_nowhere_sweep(rig: Rig) -> None:
    """Every RQ worker hangs and takes the wake-ups: the pollers drain."""
    hung = [one for worker in rig.stack.workers for one in named(worker, "rq worker")]
    assert hung
    with frozen(hung):
        wave = rig.send(5)
        wave.finish()
    wave.check()


@pytest.mark.parametrize("rig", ONE_IN_CI, indirect=True)
def test_a_redirect_elsewhere_is_not_followed_and_not_for_ever(rig: Rig) -> None:
    """The bot is failed with a reason, no other host is called, and a new event retries it."""
    bot = linkable(rig)
    with FakeRecall() as elsewhere:
        away = Fault(act="redirect", path="bot/{id}", match=bot.id, location=elsewhere.url)
        with rig.recall.faults.during(away):
            post(rig, bot, "in_call_recording")
            until(lambda: is_settled(rig, bot), "a settle")
        assert row(rig, bot).link_state == "failed"
        assert "30" in row(rig, bot).last_error
        assert elsewhere.calls.all() == []
    post(rig, bot, "done")
    until(lambda: row(rig, bot).link_state == "linked", "the link")


@pytest.mark.parametrize("rig", ONE_IN_CI, indirect=True)
def test_a_queue_full_of_another_releases_jobs_delays_nothing(rig: Rig) -> None:
    """A function that was renamed: its hints fail, and the next sweep's do not."""
    client = Redis.from_url(rig.redis.url)
    queue = Queue("links", connection=client, serializer=JSONSerializer)
    for _ in range(10):
        queue.enqueue_call("workers.jobs.drain_all", ttl=60, result_ttl=0, failure_ttl=60)
    wave = rig.send(5)
    wave.finish(30)
    wave.check()
    client.close()


@pytest.mark.parametrize("rig", ONE_IN_CI, indirect=True)
def test_a_corrupt_job_costs_a_restart_and_no_link(rig: Rig) -> None:
    """RQ's worker dies of an invalid date in a job: it is restarted, and sweeps go on."""
    client = Redis.from_url(rig.redis.url)
    queue = Queue("links", connection=client, serializer=JSONSerializer)
    for _ in range(2):
        job = queue.enqueue_call("drain", ttl=60, result_ttl=0, failure_ttl=60)
        client.hset(f"rq:job:{job.id}", "created_at", "the day before")
    wave = rig.send(5)
    wave.finish(30)
    wave.check()
    client.close()


@pytest.mark.parametrize("rig", ONE_IN_CI, indirect=True)
def test_this_release_serves_on_the_next_ones_schema(rig: Rig) -> None:
    """Its migrations only add: old web and workers serve until they are replaced."""
    with rig.writing() as connection:
        for table in ADDED_TO:
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN of_tomorrow TEXT"))
        connection.execute(text("CREATE TABLE things_of_tomorrow (id INTEGER PRIMARY KEY)"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    kill(*[one for process in rig.stack.processes for one in family(process)])
    until(rig.is_ready, "readyz saying yes")
    wave = rig.send(5)
    wave.finish()
    wave.check()
    with rig.writing() as connection:
        for table in ADDED_TO:
            connection.execute(text(f"ALTER TABLE {table} DROP COLUMN of_tomorrow"))
        connection.execute(text("DROP TABLE things_of_tomorrow"))
        connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD})


def test_a_recall_that_was_away_for_hours_is_caught_up_with(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """Statuses do not wait for it, nothing is given up, and the next try is at most 15 min off."""
    bots = [recall.build.bot([recall.build.meeting(recall.build.user())]) for _ in range(5)]
    for bot in bots:
        add_delivery(engine, bot.id, "done")
    with recall.faults.during(Fault(status=503)):
        Drain(make_context(), Stop()).run()
        for bot in bots:
            # Three hours of tries, as the database's clock would tell them.
            set_bot(engine, bot.id, owed_since=db_now(-3 * 3600), attempts=14, due_at=db_now(-1))
        Drain(make_context(), Stop()).run()
    for bot in bots:
        found = bot_row(engine, bot.id)
        assert (found.status, found.link_state, found.attempts) == ("done", "pending", 15)
        assert found.due_at - found.settled_at <= timedelta(minutes=15)
        set_bot(engine, bot.id, due_at=db_now(-1))
    Drain(make_context(), Stop()).run()
    assert {bot_row(engine, bot.id).link_state for bot in bots} == {"linked"}


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="file size limits are Linux's")
def test_a_full_disk_is_503_and_breaks_no_file(rigs: Rigs) -> None:
    """SQLite cannot grow: refused, kept by the sender, and stored when there is room again."""
    rig = rigs("quick", "sqlite")
    web = psutil.Process(rig.stack.web.pid)
    sender = Sender(f"{rig.stack.url}{PATH}", [SECRET])
    large = [Webhook.of({"event": "of no use", "pad": "x" * 200_000}) for _ in range(30)]
    _, most = web.rlimit(psutil.RLIMIT_FSIZE)
    web.rlimit(psutil.RLIMIT_FSIZE, (2 * 1024 * 1024, most))
    receipts = sender.run(large)
    web.rlimit(psutil.RLIMIT_FSIZE, (most, most))
    refused = [receipt.delivery for receipt in receipts if not receipt.is_taken]
    assert refused
    assert {receipt.status for receipt in receipts} <= {200, 503}
    until(lambda: sender.send(refused[0]).is_taken, "room")
    assert all(receipt.is_taken for receipt in sender.run(refused))
    stored = {found.id for found in rows(rig.engine, Delivery)}
    assert {webhook.message_id for webhook in large} <= stored
    with rig.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
    assert rig.stack.web.code is None


@pytest.mark.parametrize("rig", ONE_IN_CI, indirect=True)
def test_a_second_stop_is_still_an_orderly_one(rig: Rig) -> None:
    """Platforms and people send two: exit 0 in under 20 s, and the bot is linked later."""
    bot = linkable(rig)
    rig.recall.faults.add(Fault(act="hang", path="bot/{id}", match=bot.id, times=1))
    post(rig, bot, "in_call_recording")
    until(lambda: is_held(rig, bot), "a claim")
    dyno = busy(rig)
    process, started = psutil.Process(dyno.pid), time.monotonic()
    for _ in range(2):
        kill(*family(dyno), sig=signal.SIGTERM)
        time.sleep(1.5)
    until(lambda: not process.is_running() or process.pid != dyno.pid, "its end", 20)
    assert time.monotonic() - started < 20
    until(lambda: is_settled(rig, bot), "the settle")
    assert row(rig, bot).link_state == "linked"
