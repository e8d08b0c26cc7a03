"""The RQ worker in one process: warm from drain to drain, replaced in time, stopped in order."""

import signal
from collections.abc import Iterator

import pytest
import redis
from rq import Queue
from sqlalchemy import Engine, event

from models.settings.environment import Settings
from tests.conftest import MakeContext, MakeSettings
from tests.lab.recall import FakeRecall
from tests.support.rows import add_delivery, bot_row
from workers.processes import rq_worker
from workers.processes.rq_worker import DrainJob, DrainWorker, run_worker
from workers.queue.jobs import queue_name
from workers.queue.wakeup import WakeUp
from workers.recall_api.transport import make_ssl_context
from workers.shutdown import Stop


def linkable(recall: FakeRecall, engine: Engine) -> str:
    """A bot at Recall with one meeting, and its webhook."""
    bot = recall.build.bot([recall.build.meeting(recall.build.user())])
    add_delivery(engine, bot.id, "joining_call")
    return bot.id


def test_connections_are_kept_from_one_drain_to_the_next(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """To Recall and to the database: the second drain pays for no handshake."""
    tools = make_context(WORKER_THREADS=1)
    opened: list[object] = []
    event.listen(tools.engine, "connect", lambda *_: opened.append(1))
    job = DrainJob(tools, Stop())
    for _ in range(3):
        bot_id = linkable(recall, engine)
        assert job.drain() == 1
        assert bot_row(engine, bot_id).link_state == "linked"
    assert len(opened) == 1
    assert len({call.port for call in recall.calls.all()}) == 1


def test_a_drain_that_breaks_leaves_no_connection_behind(
    engine: Engine,
    recall: FakeRecall,
    make_context: MakeContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A time-out may interrupt a statement; the next drain needs a new connection."""
    tools = make_context()
    opened: list[object] = []
    event.listen(tools.engine, "connect", lambda *_: opened.append(1))
    job = DrainJob(tools, Stop())
    job.drain()

    def cut(*_: object) -> int:
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr("workers.linking.drain.apply_batch", cut)
        with pytest.raises(TimeoutError):
            job.drain()
    bot_id = linkable(recall, engine)
    assert job.drain() == 1
    assert bot_row(engine, bot_id).link_state == "linked"
    assert len(opened) == 2


@pytest.fixture
def settings(make_settings: MakeSettings, recall: FakeRecall, redis_url: str) -> Settings:
    """A worker's settings, with Redis and the fake Recall."""
    return make_settings(
        REDIS_URL=redis_url, RECALL_API_BASE_URL=recall.url, RECALL_API_KEY=recall.api_key
    )


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the queue's Redis."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """RQ sets signal handlers; pytest's come back."""
    kept = {sig: signal.getsignal(sig) for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    yield
    for sig, handler in kept.items():
        signal.signal(sig, handler)


@pytest.mark.parametrize("limit", ["MOST_JOBS", "MOST_MEMORY_MB"])
def test_a_worker_is_replaced_after_many_jobs_or_much_memory(
    settings: Settings,
    engine: Engine,
    recall: FakeRecall,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
) -> None:
    """It completes the job that passed the limit, deregisters from Redis and ends."""
    monkeypatch.setattr(rq_worker, limit, 1)
    bot_id = linkable(recall, engine)
    wakeup = WakeUp(client, queue_name(settings))
    assert wakeup.send()
    assert wakeup.send()
    beats: list[int] = []
    run_worker(settings, make_ssl_context(), lambda: beats.append(1))
    assert bot_row(engine, bot_id).link_state == "linked"
    assert Queue(queue_name(settings), connection=client).count == 1
    assert client.scard("rq:workers") == 0
    assert len(beats) > 2


def test_a_second_signal_is_the_same_orderly_stop(client: redis.Redis) -> None:
    """The platform signals each process of a dyno, and so does the supervisor."""
    worker = DrainWorker(["a-queue"], connection=client)
    asked: list[str] = []
    worker.on_beat, worker.on_stop = lambda: None, lambda: asked.append("stop")
    worker.handle_warm_shutdown_request()
    worker.set_shutdown_requested_date()
    worker.request_force_stop(signal.SIGTERM, None)
    assert asked == ["stop"]
