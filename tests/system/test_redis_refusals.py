"""Where Redis answered with a reason, every place says that reason, and what to do."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import CapturingLogger

from models.core.redis_errors import LONGEST_REASON, describe, reason, remedy
from models.settings.environment import Settings
from tests.conftest import MakeContext, unavailable
from tests.lab.stack.servers import Server, ServerUnavailableError, free_port, start_redis
from tests.support.fakes import BOT
from tests.support.processes import until
from tests.support.rows import add_bot
from webhook.app import create_app, resources_of
from webhook.doctor.redis_server import examine_redis
from workers.processes import rq_worker
from workers.processes.poller import Poller
from workers.queue.redis_clients import quick_redis
from workers.shutdown import Stop

PASSWORD = "s3cret-word"
WRONG = "wr0ng-word"
HOST = "127.0.0.1"
EVENTS = (
    "waiting for Redis",
    "Redis is away: draining without it",
    "Redis wakes no worker: links wait for the next poll",
)
# The address, what the administrator does to the server, what is said of it, what is to be done.
Change = Callable[["redis.Redis", Path], object]


def fill(admin: "redis.Redis", _: Path) -> None:
    """Leave no byte for what is written."""
    admin.config_set("maxmemory", "1")


def fail_to_save(admin: "redis.Redis", folder: Path) -> None:
    """Have a snapshot fail, where it is to be renamed to a folder."""
    (folder / "dump.rdb").mkdir()
    admin.config_set("save", "3600 1")
    admin.bgsave()
    while admin.info("persistence")["rdb_bgsave_in_progress"]:
        pass


def follow(admin: "redis.Redis", _: Path) -> None:
    """Make it the replica of nobody there."""
    admin.replicaof(HOST, str(free_port()))


def restrict(admin: "redis.Redis", _: Path) -> None:
    """Make a user who may ask how it is, and write nothing."""
    admin.acl_setuser("app", enabled=True, passwords=f"+{PASSWORD}", commands=["+ping", "+info"])


def nothing(_: "redis.Redis", __: Path) -> None:
    """Leave it as it is."""


RIGHT = f"redis://:{PASSWORD}@{HOST}:{{port}}"
REFUSALS: dict[str, tuple[str, Change, str, str]] = {
    "a wrong password": (
        f"redis://:{WRONG}@{HOST}:{{port}}",
        nothing,
        "invalid username-password pair or user is disabled",
        "password in REDIS_URL",
    ),
    "a wrong user": (
        f"redis://nobody:{PASSWORD}@{HOST}:{{port}}",
        nothing,
        "invalid username-password pair or user is disabled",
        "user and the password in REDIS_URL",
    ),
    "no password": (
        f"redis://{HOST}:{{port}}",
        nothing,
        "Authentication required",
        "password in REDIS_URL",
    ),
    "nothing listens": (
        f"redis://:{PASSWORD}@{HOST}:{{free}}",
        nothing,
        "Connection refused",
        "host and port in REDIS_URL",
    ),
    "no such host": (
        f"redis://:{PASSWORD}@nowhere.invalid:6379",
        nothing,
        "",
        "host and port in REDIS_URL",
    ),
    "no such socket": (
        "unix:///nowhere/redis.sock",
        nothing,
        "No such file or directory",
        "and that the server is running",
    ),
    "no such database": (f"{RIGHT}/99", nothing, "DB index is out of range", "number"),
    "full": (
        RIGHT,
        fill,
        "command not allowed when used memory > 'maxmemory'",
        "more memory",
    ),
    "a disk that it cannot write": (
        RIGHT,
        fail_to_save,
        "it's currently unable to persist to disk",
        "a writable disk",
    ),
    "a replica": (
        RIGHT,
        follow,
        "You can't write against a read only replica",
        "at the primary",
    ),
    "a user without rights": (
        f"redis://app:{PASSWORD}@{HOST}:{{port}}",
        restrict,
        "User app has no permissions to run the '",
        "ACL SETUSER",
    ),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, int]]:
    """A Redis-protocol server of this test's own that asks for a password, and its port."""
    try:
        server = start_redis(tmp_path)
    except ServerUnavailableError as error:
        unavailable(error)
        raise
    port = free_port()
    with redis.Redis.from_url(server.url) as admin:
        admin.config_set("port", str(port))
        admin.config_set("requirepass", PASSWORD)
    yield server, port
    server.stop()


def wait_once(settings: Settings) -> None:
    """Let the RQ worker wait for Redis for one beat."""

    class Enough(Exception):  # noqa: N818
        """Ends the waiting."""

    beats = iter(range(1))

    def beat() -> None:
        if next(beats, None) is None:
            raise Enough

    client = quick_redis(settings)
    assert client is not None
    with pytest.raises(Enough):
        rq_worker.wait_for_redis(client, beat)
    client.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal_is_told_in_rediss_words(
    server: tuple[Server, int],
    make_context: MakeContext,
    engine: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    what: str,
) -> None:
    """By the doctor, and by the log of web, RQ worker and poller; no address, no password."""
    pattern, change, said, todo = REFUSALS[what]
    with redis.Redis.from_url(server[0].url, password=PASSWORD) as admin:
        change(admin, tmp_path)
    url = pattern.format(port=server[1], free=free_port())
    tools = make_context(REDIS_URL=url)
    app = create_app(tools.settings)
    [finding] = examine_redis(resources_of(app).redis)
    assert finding.level == "warning"
    assert said in finding.text
    assert finding.text.startswith(("refuses: ", "is away: "))
    assert todo in finding.remedy
    monkeypatch.setattr(rq_worker, "REDIS_PAUSE_SECONDS", 0)
    add_bot(engine, BOT)
    # structlog's own capture does not hear a logger that another test has used before.
    heard = CapturingLogger()
    monkeypatch.setattr("workers.queue.redis_news.logger", heard)
    wait_once(tools.settings)
    Poller(tools, Stop()).sweep()
    resources_of(app).wakeup.wake()
    until(lambda: EVENTS[-1] in [call.args[0] for call in heard.calls], "the web's line")
    for event in EVENTS:
        [call] = [call for call in heard.calls if call.args[0] == event]
        assert said in call.kwargs["reason"]
        assert call.kwargs["remedy"] == finding.remedy
    for hidden in (PASSWORD, WRONG, "redis://", "redis.sock", HOST):
        assert hidden not in f"{finding} {heard.calls}"


@pytest.mark.parametrize(
    ("said", "shown", "todo"),
    [
        (
            "unknown command 'AUTH', with args beginning with: 's3cret-word' ",
            "unknown command 'AUTH'",
            "Redis 6",
        ),
        (
            "Error 1 connecting to h:6379. [SSL: CERTIFICATE_VERIFY_FAILED] no good (_ssl.c:1).",
            "[SSL: CERTIFICATE_VERIFY_FAILED] no good (_ssl.c:1)",
            "REDIS_TLS_VERIFY=none",
        ),
        (
            "Error while reading from h.example:6379 : (104, 'Connection reset by peer')",
            "Connection reset by peer",
            "rediss://",
        ),
        ("Error 32 while writing to socket. Broken pipe.", "Broken pipe", "the server is running"),
        ("Error timed out connecting to h.example:6379.", "timed out", "the server is running"),
        (
            "Command # 1 (HSET rq:job:1 s3cret-word) of pipeline caused error: OOM no. More.",
            "OOM no",
            "",
        ),
        ("redis://:s3cret-word@h.example:6379 is bad\x1b[2J", "is bad\x1b[2J", ""),
        ("max number of clients reached", "max number of clients reached", "scale down"),
        (
            "DENIED Redis is running in protected mode because … is set. In this mode …",
            "DENIED Redis is running in protected mode because … is set",
            "requirepass",
        ),
        ("3999 10.0.0.1:6381", "3999 10.0.0.1:6381", "not a cluster"),
        ("x" * 10_000, "x" * LONGEST_REASON, ""),
        ("", "ConnectionError", ""),
    ],
)
def test_the_first_sentence_is_shown_and_no_secret(said: str, shown: str, todo: str) -> None:
    """Also of what cannot be had here from a real server."""
    error = redis.ConnectionError(said)
    assert reason(error) == shown
    assert todo in remedy(error)
    assert describe(error) == f"is away: {shown}"
