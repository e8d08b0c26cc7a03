"""The queue: one job by one name, and wake-ups that may be lost."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from rq import SimpleWorker
from rq.job import Job
from rq.registry import FailedJobRegistry

from models.settings.environment import Settings, SettingsError
from tests.conftest import API_KEY
from tests.lab.http.tls import make_server_context
from workers.queue.jobs import DRAIN, links_queue, listed_jobs, queue_name
from workers.queue.redis_clients import quick_redis
from workers.queue.wakeup import MOST_QUEUED, WakeUp

QUEUE = "links:here"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the shared server."""
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


def settings(url: str | None, **environ: str) -> Settings:
    """Settings with this Redis."""
    given = {"RECALL_API_KEY": API_KEY} | ({"REDIS_URL": url} if url else {})
    return Settings.read(given | environ)


def work(client: redis.Redis, ran: list[str], name: str = QUEUE) -> None:
    """Run what is queued, in this process."""
    jobs = listed_jobs({DRAIN: lambda: ran.append("drain")})
    queue = links_queue(client, name, jobs)
    worker = SimpleWorker([queue], connection=client, job_class=jobs, serializer="json")
    worker.work(burst=True, logging_level="ERROR")


def test_a_wakeup_is_one_drain(client: redis.Redis) -> None:
    """And leaves nothing behind in Redis."""
    ran: list[str] = []
    assert WakeUp(client, QUEUE).send()
    work(client, ran)
    assert ran == ["drain"]
    assert client.keys("rq:job:*") == []


def test_only_a_few_wakeups_are_queued(client: redis.Redis) -> None:
    """However many are sent; each expires."""
    wakeup = WakeUp(client, QUEUE)
    assert all(wakeup.send() for _ in range(20))
    queue = links_queue(client, QUEUE)
    assert queue.count == MOST_QUEUED
    for job in queue.jobs:
        assert (job.ttl, job.timeout, job.args, job.kwargs) == (60, 60, [], {})


def test_what_lies_in_redis_names_no_code_and_tells_nothing(client: redis.Redis) -> None:
    """JSON, a name of our table, no arguments."""
    WakeUp(client, QUEUE).send()
    (job,) = links_queue(client, QUEUE).jobs
    assert json.loads(job.data) == [DRAIN, None, [], {}]
    assert job.description == DRAIN


def test_two_deployments_on_one_redis_get_only_their_own_wakeups(
    client: redis.Redis, redis_url: str
) -> None:
    """Staging's worker must not take production's wake-ups."""
    shop = "postgresql://shop@db.example:5432/shop"
    ours, theirs = (
        settings(redis_url, DATABASE_URL=url) for url in (shop, shop.replace("/shop", "/staging"))
    )
    for one in (ours, theirs):
        assert WakeUp(client, queue_name(one)).send()
    ran: list[str] = []
    work(client, ran, queue_name(theirs))
    assert ran == ["drain"]
    assert links_queue(client, queue_name(theirs)).count == 0
    assert links_queue(client, queue_name(ours)).count == 1
    work(client, ran, queue_name(ours))
    assert ran == ["drain", "drain"]


def test_a_queue_is_named_by_the_database_and_by_nothing_secret() -> None:
    """The same name for all processes that share the tables, however they connect."""

    def name(url: str) -> str:
        return queue_name(settings(None, DATABASE_URL=url))

    here = name("postgresql://shop@db.example/shop")
    assert name("postgres://web@db.example/shop?sslmode=require") == here
    assert "shop" not in here
    elsewhere = [
        "postgresql://shop@db.example/staging",
        "postgresql://shop@db.example:6432/shop",
        "postgresql://shop@other.example/shop",
        "postgresql://shop@db.example/shop?options=-csearch_path%3Dstaging",
        "postgresql:///shop?host=/run/one",
        "postgresql:///shop?host=/run/two",
        "sqlite:///shop.db",
        "sqlite:////srv/shop.db",
    ]
    assert len({here, *map(name, elsewhere)}) == 1 + len(elsewhere)


@pytest.mark.parametrize(
    "name", ["os.system", "workers.queue.wakeup.WakeUp", "builtins.exec", "", "Drain"]
)
def test_a_name_that_is_not_listed_is_not_run(client: redis.Redis, name: str) -> None:
    """A JSON payload can name any callable; ours are a table."""
    ran: list[str] = []
    queue = links_queue(client, QUEUE)
    queue.enqueue_call(name or "x", args=("touch /nonexistent/pwned",))
    WakeUp(client, QUEUE).send()
    work(client, ran)
    assert ran == ["drain"]
    assert len(FailedJobRegistry(QUEUE, connection=client)) == 1


def test_callbacks_in_a_payload_are_not_run(client: redis.Redis) -> None:
    """They can name code too."""
    ran: list[str] = []
    WakeUp(client, QUEUE).send()
    (job,) = links_queue(client, QUEUE).jobs
    client.hset(job.key, "success_callback_name", "builtins.print")
    client.hset(job.key, "failure_callback_name", "builtins.print")
    client.hset(job.key, "webhooks", json.dumps([{"url": "http://127.0.0.1:9/"}]))
    work(client, ran)
    assert ran == ["drain"]


def test_a_pickled_payload_is_refused(client: redis.Redis) -> None:
    """It is not even read."""
    ran: list[str] = []
    WakeUp(client, QUEUE).send()
    (job,) = links_queue(client, QUEUE).jobs
    client.hset(job.key, "data", b"\x80\x04\x8c\x05print\x94.")
    work(client, ran)
    assert ran == []


def test_without_redis_no_wakeup_is_sent() -> None:
    """`send` says so at once, and raises nothing."""
    assert not WakeUp(None, QUEUE).send()
    away = quick_redis(settings("unix:///nonexistent/redis.sock"))
    assert not WakeUp(away, QUEUE).send()
    assert quick_redis(settings(None)) is None


def test_a_full_redis_takes_no_wakeup(client: redis.Redis) -> None:
    """With noeviction a full Redis refuses the job: the poller drains instead."""
    client.config_set("maxmemory", "1")
    try:
        assert not WakeUp(client, QUEUE).send()
    finally:
        client.config_set("maxmemory", "0")
    assert WakeUp(client, QUEUE).send()


def test_a_redis_url_that_is_none_stops_the_boot() -> None:
    """And is named."""
    with pytest.raises(SettingsError, match="REDIS_URL"):
        settings("http://example.com")


def test_a_self_signed_redis_is_trusted_only_by_the_setting(client: redis.Redis) -> None:
    """Heroku's certificate cannot be verified; REDIS_TLS_VERIFY=none accepts it."""
    url = "rediss://127.0.0.1:6390"
    strict = quick_redis(settings(url))
    lax = quick_redis(settings(url, REDIS_TLS_VERIFY="none"))
    assert strict is not None
    assert lax is not None
    assert "ssl_cert_reqs" not in strict.connection_pool.connection_kwargs
    assert lax.connection_pool.connection_kwargs["ssl_cert_reqs"] == "none"


@contextmanager
def behind_tls(unix_path: str, folder: Path) -> Iterator[int]:
    """A Redis's TLS port, with a certificate that nobody else has signed."""
    context = make_server_context(folder / "ca.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with contextlib.suppress(OSError), client:
                        relay(context.wrap_socket(client, server_side=True), unix_path)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)


def relay(client: ssl.SSLSocket, unix_path: str) -> None:
    """Forward each command and its answer, one at a time."""
    with client, socket.socket(socket.AF_UNIX) as server:
        server.connect(unix_path)
        while data := client.recv(65536):
            server.sendall(data)
            client.sendall(server.recv(65536))


def test_a_redis_behind_a_self_signed_certificate_needs_the_setting(
    client: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    """A real handshake: refused without REDIS_TLS_VERIFY=none."""
    with behind_tls(redis_url.removeprefix("unix://"), tmp_path) as port:
        url = f"rediss://127.0.0.1:{port}"
        strict = quick_redis(settings(url))
        lax = quick_redis(settings(url, REDIS_TLS_VERIFY="none"))
        assert strict is not None
        assert lax is not None
        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            strict.ping()
        assert lax.ping()
        lax.close()
        strict.close()


def test_jobs_of_an_old_release_do_no_harm(client: redis.Redis) -> None:
    """In mid-deploy a name may be gone: the hint fails, the next one works."""
    ran: list[str] = []
    links_queue(client, QUEUE, Job).enqueue_call("jobs.drain_everything")  # type: ignore[arg-type]
    WakeUp(client, QUEUE).send()
    work(client, ran)
    assert ran == ["drain"]
