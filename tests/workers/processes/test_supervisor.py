"""A worker dyno as it runs: its processes, Redis outages, its stop."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from models.tables.bot import Bot as BotRow
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.stack.servers import Server
from tests.lab.stack.stack import Process, procfile
from tests.lab.world.shapes import Bot
from tests.support.processes import environ_for, until
from tests.support.rows import add_delivery, bot_row, count, rows


@pytest.fixture
def recall() -> Iterator[FakeRecall]:
    """A fake Recall."""
    with FakeRecall(limits=False) as recall:
        yield recall


@contextmanager
def a_dyno(
    database_url: str, recall: FakeRecall, folder: Path, **settings: object
) -> Iterator[Process]:
    """The worker line of the Procfile; it must not end by itself."""
    environ = environ_for(database_url, recall, RECALL_RATE_SHARE=100_000, **settings)
    process = Process("worker", procfile()["worker"], environ, folder / "worker.log")
    process.start()
    try:
        yield process
        assert process.code is None, process.last_words()
    finally:
        process.stop()


def linkable(recall: FakeRecall) -> Bot:
    """A bot at Recall with one meeting."""
    return recall.build.bot([recall.build.meeting(recall.build.user())])


def is_linked(engine: Engine, bot: Bot) -> bool:
    """Whether this bot's link is there."""
    return any(row.link_state == "linked" for row in rows(engine, BotRow, id=bot.id))


def rq_workers(server: Server) -> int:
    """How many RQ workers have registered."""
    client = redis.Redis.from_url(server.url)
    try:
        return int(client.scard("rq:workers"))
    except redis.RedisError:
        return 0
    finally:
        client.close()


def children(process: Process) -> list[psutil.Process]:
    """The dyno's two children: the poller, then the RQ worker."""
    return psutil.Process(process.pid).children()


def test_a_dyno_links_after_wakeups_and_sweeps(
    engine: Engine, database_url: str, recall: FakeRecall, own_redis: Server, tmp_path: Path
) -> None:
    """While Redis is there, its RQ worker does it."""
    with a_dyno(database_url, recall, tmp_path, REDIS_URL=own_redis.url):
        until(lambda: rq_workers(own_redis) == 1, "the RQ worker's start")
        bot = linkable(recall)
        add_delivery(engine, bot.id, "joining_call")
        until(lambda: is_linked(engine, bot), "the link")


def test_a_dyno_starts_and_links_with_redis_down_from_boot(
    engine: Engine, database_url: str, recall: FakeRecall, own_redis: Server, tmp_path: Path
) -> None:
    """It waits for Redis, says so, drains meanwhile, and uses it when it comes."""
    own_redis.stop()
    bot, later_bot = linkable(recall), linkable(recall)
    add_delivery(engine, bot.id, "joining_call")
    with a_dyno(database_url, recall, tmp_path, REDIS_URL=own_redis.url, SWEEP_SECONDS=0.5) as dyno:
        until(lambda: is_linked(engine, bot), "the link without Redis")
        until(lambda: "waiting for Redis" in dyno.last_words(10_000), "a word of it")
        own_redis.start_again()
        until(lambda: rq_workers(own_redis) == 1, "the RQ worker's start")
        add_delivery(engine, later_bot.id, "joining_call")
        until(lambda: is_linked(engine, later_bot), "the link with Redis")


def test_a_dyno_waits_for_a_redis_that_is_full_and_links_meanwhile(
    engine: Engine, database_url: str, recall: FakeRecall, own_redis: Server, tmp_path: Path
) -> None:
    """It answers PING and refuses every write, of which RQ would die again and again."""
    with closing(redis.Redis.from_url(own_redis.url)) as client:
        client.config_set("maxmemory", 1)
        bot = linkable(recall)
        add_delivery(engine, bot.id, "joining_call")
        given = {"REDIS_URL": own_redis.url, "SWEEP_SECONDS": 0.5}
        with a_dyno(database_url, recall, tmp_path, **given) as dyno:
            until(lambda: is_linked(engine, bot), "the link without Redis")
            until(lambda: "waiting for Redis" in dyno.last_words(10_000), "a word of it")
            assert "Traceback" not in dyno.last_words(10_000)
            client.config_set("maxmemory", 0)
            until(lambda: rq_workers(own_redis) == 1, "the RQ worker's start")


def test_no_process_that_forks_holds_a_thread(
    database_url: str, recall: FakeRecall, own_redis: Server, tmp_path: Path
) -> None:
    """A lock held by a thread at the fork would stay locked in the child for ever."""
    with a_dyno(database_url, recall, tmp_path, REDIS_URL=own_redis.url) as dyno:
        until(lambda: rq_workers(own_redis) == 1, "the RQ worker's start")
        supervisor = psutil.Process(dyno.pid)
        assert supervisor.num_threads() == 1
        assert supervisor.net_connections("inet") == []


def test_a_child_that_dies_is_started_again(
    engine: Engine, database_url: str, recall: FakeRecall, own_redis: Server, tmp_path: Path
) -> None:
    """Poller or RQ worker, by kill -9."""
    with a_dyno(database_url, recall, tmp_path, REDIS_URL=own_redis.url) as dyno:
        until(lambda: rq_workers(own_redis) == 1, "the RQ worker's start")
        before = {child.pid for child in children(dyno)}
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len({c.pid for c in children(dyno)} - before) == 2, "two new children")
        bot = linkable(recall)
        add_delivery(engine, bot.id, "joining_call")
        until(lambda: is_linked(engine, bot), "the link")


@pytest.mark.parametrize("redis_there", [True, False])
def test_a_stop_is_clean_and_well_inside_30_seconds(
    engine: Engine,
    database_url: str,
    recall: FakeRecall,
    own_redis: Server,
    tmp_path: Path,
    redis_there: bool,
) -> None:
    """With a call that hangs: the lease is released, no crash is counted, exit 0."""
    if not redis_there:
        own_redis.stop()
    recall.faults.add(Fault(act="hang", path="bot/{id}"))
    bot = linkable(recall)
    add_delivery(engine, bot.id, "joining_call")
    with a_dyno(database_url, recall, tmp_path, REDIS_URL=own_redis.url, SWEEP_SECONDS=0.5) as dyno:
        recall.calls.wait_for(lambda call: call.template == "bot/{id}", timeout=60)
        family = psutil.Process(dyno.pid).children(recursive=True)
        started = time.monotonic()
        # As a platform does: every process of the dyno gets the signal.
        for process in [psutil.Process(dyno.pid), *family]:
            process.send_signal(signal.SIGTERM)
        assert dyno.wait(20) == 0
        assert time.monotonic() - started < 15
        _, alive = psutil.wait_procs(family, timeout=8)
        assert alive == []
        row = bot_row(engine, bot.id)
        assert (row.lease_token, row.crashes, row.attempts) == (None, 0, 0)
        assert row.due_at is not None
        dyno.start()


def is_stored(engine: Engine, bot: Bot) -> bool:
    """Try to store a webhook of this bot."""
    try:
        add_delivery(engine, bot.id, "joining_call")
    except OperationalError:
        return False
    return True


@pytest.mark.faults
@pytest.mark.timeout(200)
def test_an_rq_worker_that_hangs_is_replaced(
    database_url: str, recall: FakeRecall, own_redis: Server, tmp_path: Path
) -> None:
    """Code in C ignores time-outs: the supervisor kills the process and starts another."""
    with a_dyno(database_url, recall, tmp_path, REDIS_URL=own_redis.url) as dyno:
        until(lambda: rq_workers(own_redis) == 1, "the RQ worker's start")
        _poller, worker = children(dyno)
        worker.suspend()
        until(lambda: not worker.is_running(), "its end", 150)
        until(lambda: len(children(dyno)) == 2, "another", 10)
        assert "silent" in dyno.last_words(10_000)


@pytest.mark.faults
@pytest.mark.timeout(200)
def test_a_poller_that_hangs_is_replaced(
    engine: Engine, database_url: str, recall: FakeRecall, tmp_path: Path
) -> None:
    """Whatever it hangs in: without Redis nobody else would drain."""
    with a_dyno(database_url, recall, tmp_path, SWEEP_SECONDS=0.5) as dyno:
        until(lambda: len(children(dyno)) == 1, "the poller's start")
        (poller,) = children(dyno)
        poller.suspend()
        bot = linkable(recall)
        # It may hang with SQLite's one lock in its hands.
        until(lambda: is_stored(engine, bot), "a free lock", 150)
        until(lambda: is_linked(engine, bot), "the link", 150)
        assert not poller.is_running()
        assert "silent" in dyno.last_words(10_000)


def test_a_killed_parent_takes_its_children_along(
    database_url: str, recall: FakeRecall, own_redis: Server, tmp_path: Path
) -> None:
    """No orphan keeps working next to the next release."""
    with a_dyno(database_url, recall, tmp_path, REDIS_URL=own_redis.url) as dyno:
        until(lambda: rq_workers(own_redis) == 1, "the RQ worker's start")
        family = psutil.Process(dyno.pid).children(recursive=True)
        dyno.signal(signal.SIGKILL)
        dyno.wait(5)
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
        dyno.start()


def test_a_worker_without_an_api_key_says_so(
    database_url: str, recall: FakeRecall, tmp_path: Path
) -> None:
    """It needs no other setting."""
    environ = environ_for(database_url, recall, RECALL_API_KEY="")
    process = Process("worker", procfile()["worker"], environ, tmp_path / "worker.log")
    process.start()
    assert process.wait(30) == 2
    assert "RECALL_API_KEY" in process.last_words()


def test_two_dynos_share_the_rate_limit_and_meet_no_429(
    engine: Engine, database_url: str, own_redis: Server, tmp_path: Path
) -> None:
    """Recall counts every minute's calls exactly; both workers work, neither is refused."""
    scale = 10
    with FakeRecall(limits_scale=scale) as strict:
        bots = strict.build.populate(250)
        for bot in bots:
            add_delivery(engine, bot.id, "done")
        environ = environ_for(
            database_url, strict, RECALL_RATE_SHARE=100 * scale, REDIS_URL=own_redis.url
        )
        dynos = [
            Process(f"worker.{n}", procfile()["worker"], environ, tmp_path / f"{n}.log")
            for n in range(2)
        ]
        for dyno in dynos:
            dyno.start()
        until(lambda: count_linked(engine) == len(bots), "every link")
        for dyno in dynos:
            dyno.stop()
        statuses = {call.status for call in strict.calls.all()}
        assert statuses == {200}
        assert len(strict.calls.all("bot/{id}")) == len(bots)
        assert min(dyno.log.read_text().count('"settled"') for dyno in dynos) > 10


def count_linked(engine: Engine) -> int:
    """How many bots are linked."""
    return sum(row.link_state in ("linked", "no_meetings") for row in rows(engine, BotRow))


def test_an_idle_dyno_makes_no_calls(
    engine: Engine, database_url: str, recall: FakeRecall, tmp_path: Path
) -> None:
    """No status polling, ever."""
    with a_dyno(database_url, recall, tmp_path, SWEEP_SECONDS=0.2):
        time.sleep(2)
    assert recall.calls.all() == []
    assert count(engine, BotRow) == 0
