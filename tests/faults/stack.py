"""A stack to be broken: the Procfile's lines kept alive over servers of its own, and the oracle.

The oracle is the same after every fault: what was answered 2xx is stored once and applied, every
bot is settled, its links are those that the fake Recall tells, no two holders settled a bot, and
the history of events tells each change of a link once. Where a rig has an endpoint, it has received
every event, and the feed has no gap.
"""

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from sqlalchemy import Connection, Engine, func, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from models.core.engine import make_engine
from models.settings.environment import Settings
from models.tables.bot import Bot
from models.tables.delivery import Delivery
from models.tables.link import Link, LinkAttempt
from tests.conftest import SECRET, a_postgres
from tests.faults.event_history import faults_in_delivery, faults_in_history
from tests.faults.report import Figures
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery as Webhook
from tests.lab.sender.deliveries import Receipt, duplicated, shuffled
from tests.lab.sender.events import lifecycle
from tests.lab.sender.sender import Sender
from tests.lab.sender.signing import new_secret
from tests.lab.stack.event_receiver import EventReceiver
from tests.lab.stack.servers import Server, start_redis
from tests.lab.stack.stack import Process, Stack, kept_alive
from tests.lab.world.shapes import Bot as RecallBot
from tests.support.processes import environ_for, until
from workers.processes.rq_worker import DRAINING, RQ_WORKER

PATH = "/webhooks/recall"
# The promise of issue 3: without a hand, and the half of them sooner.
RECOVERY_SECONDS = 60.0
# A lease that is lost, and a call.
DELIVERY_SECONDS = 30.0
# Recall waits 5 s and then 5 min; here the sender is impatient, so that it is us who are measured.
RETRIES = (0.4,) * 300
# A role of its own: a superuser is let in where a plan's connections are used up.
ROLE = "app"


class Rig:
    """A running stack, its servers, and what is known of what was sent to it."""

    def __init__(
        self,
        stack: Stack,
        recall: FakeRecall,
        engine: Engine,
        redis: Server,
        postgres: Server | None,
        environ: Mapping[str, str],
        settings: Settings,
        endpoint: EventReceiver | None = None,
    ) -> None:
        self.stack = stack
        self.recall = recall
        self.engine = engine
        self.redis = redis
        self.postgres = postgres
        self.environ = dict(environ)
        self.settings = settings
        self.endpoint = endpoint
        self.database = str(engine.url.database)
        self.figures = Figures()
        self.rng = random.Random(7)

    @property
    def kind(self) -> str:
        """The database's kind."""
        return self.engine.dialect.name

    @property
    def doom_file(self) -> Path:
        """Where a doomed rig's processes look for their end."""
        return self.stack.web.log.parent / "doom"

    def doom(self, point: str, who: str = "self", about: str | None = None) -> None:
        """Tell whoever comes to this point next to die there."""
        words = json.dumps({"at": point, "with": who, "about": about})
        # Whole or not at all: they look all the time.
        beside = self.doom_file.with_suffix(".new")
        beside.write_text(words)
        beside.rename(self.doom_file)

    def admin(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """An autocommit connection of the superuser's, to this rig's database."""
        if self.postgres is None:
            raise LookupError("this rig stands on SQLite")
        url = make_url(self.postgres.url).set(database=self.database)
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def is_ready(self) -> bool:
        """Whether the web process says that it may be sent requests."""
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.stack.url}/readyz", timeout=10).status_code == 200
        return False

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that changes what the service stored, as the superuser where one is."""
        engine = make_engine(self.settings, "write")
        with engine.begin() as connection:
            yield connection
        engine.dispose()

    def faults_in_delivery(self) -> list[str]:
        """What the endpoint has not received, or is wrong with the feed; none without one."""
        if self.endpoint is None:
            return []
        # Before the rows are read: what was received by then is written.
        received = set(self.endpoint.verified)
        with self.engine.connect() as connection:
            return faults_in_delivery(connection, received)

    def send(self, bots: int, rate: float = 40.0) -> "Wave":
        """Start sending the lives of so many new bots."""
        return Wave(self, self.recall.build.populate(bots), rate)

    @contextmanager
    def under_load(self, fault: str, bots: int = 12) -> Iterator["Wave"]:
        """Break it inside of the block, while webhooks come; then wait for the end and look."""
        wave = self.send(bots)
        until(lambda: wave.is_under_way, "the first deliveries")
        try:
            yield wave
        finally:
            self.recall.faults.clear()
            lifted_at = time.monotonic()
        self.figures.faults[fault] += 1
        wave.finish()
        self.figures.recoveries.append(time.monotonic() - lifted_at)
        wave.check()


class Wave:
    """Webhooks of some bots on their way, each sent until it is taken."""

    def __init__(self, rig: Rig, bots: Sequence[RecallBot], rate: float) -> None:
        self._rig = rig
        self.bots = bots
        self.webhooks = webhooks_of(bots, rig.rng)
        self.receipts: list[Receipt] = []
        url = f"{rig.stack.url}{PATH}"
        self._sender = Sender(url, [SECRET], connections=6, rate=rate, retries=RETRIES)
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.receipts = self._sender.run(self.webhooks)

    @property
    def is_under_way(self) -> bool:
        """Whether something of it has arrived."""
        return self._count(Delivery, Delivery.bot_id.in_([bot.id for bot in self.bots])) > 0

    @property
    def is_owed(self) -> bool:
        """Whether any of it is still on its way, or not settled."""
        return self._thread.is_alive() or not self.is_settled

    @property
    def is_settled(self) -> bool:
        """Whether all of it is applied, every bot's last word is linked and nobody holds it."""
        ids = [bot.id for bot in self.bots]
        rest = (Bot.due_at.is_(None), Bot.sealed_at.is_not(None), Bot.lease_token.is_(None))
        unapplied = (Delivery.applied_at.is_(None), Delivery.outcome == "accepted")
        if self._count(Delivery, Delivery.bot_id.in_(ids), *unapplied):
            return False
        return self._count(Bot, Bot.id.in_(ids), *rest) == len(ids)

    def finish(self, seconds: float = RECOVERY_SECONDS) -> None:
        """Wait until all of it was taken and settled."""
        until_at = time.monotonic() + seconds
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "webhooks are still refused"
        until(lambda: self.is_settled, "every settle", max(0.0, until_at - time.monotonic()))

    def check(self, *, is_one_clock: bool = True, also: Collection[int] = ()) -> None:
        """Judge by the oracle, and add to the rig's figures; `also` were fitting answers."""
        figures = self._rig.figures
        sent = {webhook.message_id for webhook in self.webhooks}
        taken = {receipt.delivery.message_id for receipt in self.receipts if receipt.is_taken}
        links, expected = self._links(), self._expected()
        overlapping = self.overlapping() if is_one_clock else []
        lost = taken - self._stored()
        figures.accepted += len(taken)
        figures.linked += len(links)
        figures.retried += sum(not receipt.is_taken for receipt in self.receipts)
        figures.lost += len(lost) + len(expected - links)
        figures.duplicated += len(links - expected) + len(overlapping)
        figures.unsettled += not self.is_settled
        answers = {receipt.status for receipt in self.receipts}
        # No answer at all (0) is what a killed process says; 500 would be a defect.
        assert answers <= {0, 200, 202, 503, *also}, answers
        assert not lost
        assert taken == sent
        assert links == expected
        assert overlapping == []
        assert self.is_settled
        assert self.faults_in_history() == []
        with suppress(AssertionError):
            until(lambda: self._rig.faults_in_delivery() == [], "every delivery", DELIVERY_SECONDS)
        assert self._rig.faults_in_delivery() == []

    def faults_in_history(self) -> list[str]:
        """What the events of its bots tell otherwise than it is."""
        with self._rig.engine.connect() as connection:
            return faults_in_history(connection, [bot.id for bot in self.bots])

    def overlapping(self) -> list[str]:
        """Bots that two holders have settled for the same time: a lost lease wrote something."""
        mine = LinkAttempt.bot_id.in_([bot.id for bot in self.bots])
        query = select(LinkAttempt.bot_id, LinkAttempt.started_at, LinkAttempt.finished_at)
        with self._rig.engine.connect() as connection:
            rows = connection.execute(query.where(mine).order_by(LinkAttempt.id)).all()
        by_bot = itertools.groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: row[0])
        return [
            bot_id
            for bot_id, attempts in by_bot
            if any(a.finished_at > b.started_at for a, b in itertools.pairwise(attempts))
        ]

    def _stored(self) -> set[str]:
        ids = {webhook.message_id for webhook in self.webhooks}
        mine = Delivery.id.in_(ids)
        assert self._count(Delivery, mine, Delivery.outcome == "malformed") == 0
        with self._rig.engine.connect() as connection:
            found = connection.scalars(select(Delivery.id).where(mine)).all()
        # The id is the table's key: a message can be lost, but not be there twice.
        assert len(found) == len(set(found))
        return set(found)

    def _links(self) -> set[tuple[str, str]]:
        mine = Link.bot_id.in_([bot.id for bot in self.bots])
        with self._rig.engine.connect() as connection:
            rows = connection.execute(select(Link.bot_id, Link.meeting_id).where(mine)).all()
        assert len(rows) == len(set(rows))
        return {(row.bot_id, row.meeting_id) for row in rows}

    def _expected(self) -> set[tuple[str, str]]:
        return {(bot.id, ref.id) for bot in self.bots for ref in bot.calendar_meetings}

    def _count(self, table: type[Any], *where: Any) -> int:
        with self._rig.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table).where(*where)) or 0


def webhooks_of(bots: Sequence[RecallBot], rng: random.Random) -> list[Webhook]:
    """The lives of these bots, in both generations and families, doubled and shuffled."""
    webhooks = [
        Webhook.of(event, family=rng.choice(("svix", "webhook")))
        for bot in bots
        for event in lifecycle(bot, generation=rng.choice(("legacy", "v1.11")))
    ]
    return shuffled(duplicated(webhooks, 0.1, rng), rng)


# Short times make short tests; what is quoted is measured with the settings as shipped.
SPEEDS: dict[str, dict[str, Any]] = {
    "quick": {"LEASE_SECONDS": 2, "SWEEP_SECONDS": 1},
    "shipped": {},
}
Rigs = Callable[[str, str], Rig]


@contextmanager
def rigs_of(folders: pytest.TempPathFactory, **options: Any) -> Iterator[Rigs]:
    """Ask for a rig by speed and database: it is broken over and over, until the speed changes."""
    with ExitStack() as held:
        running: dict[str, Rig] = {}
        speeds: set[str] = set()

        def get(speed: str, kind: str) -> Rig:
            if speeds != {speed}:
                held.close()
                running.clear()
                speeds.clear()
            speeds.add(speed)
            if kind not in running:
                rig = a_rig(kind, folders.mktemp("r"), **options, **SPEEDS[speed])
                running[kind] = held.enter_context(rig)
            return running[kind]

        yield get


@contextmanager
def a_rig(
    kind: str,
    folder: Path,
    *,
    workers: int = 2,
    is_doomed: bool = False,
    has_endpoint: bool = False,
    **settings: Any,
) -> Iterator[Rig]:
    """Run a rig on a fresh database of this kind; its dead are started again.

    A doomed one can be told to die at a given point of the code, by `doom`.
    """
    with ExitStack() as held:
        redis = start_redis(folder)
        held.callback(redis.stop)
        recall = held.enter_context(FakeRecall(limits=False, latency_ms=150))
        postgres = held.enter_context(a_postgres()) if kind == "postgresql" else None
        url = app_database(postgres) if postgres else f"sqlite:///{folder / 'rig.db'}"
        given = {"REDIS_URL": redis.url, "RECALL_RATE_SHARE": 100_000, **settings}
        endpoint = (
            held.enter_context(EventReceiver(secret := new_secret())) if has_endpoint else None
        )
        if endpoint is not None:
            given |= {"EVENTS_URL": f"{endpoint.url}/events", "EVENTS_SECRET": secret}
        environ = environ_for(url, recall, DOOM=folder / "doom", **given)
        read = Settings.read(environ)
        stack = Stack(environ, folder, workers=workers)
        for process in stack.processes if is_doomed else ():
            doom(process, "webhook" if process is stack.web else "workers", environ)
        held.enter_context(kept_alive(stack))
        watching = as_superuser(read) if postgres else read
        engine = make_engine(watching, "read", pool_size=3)
        held.callback(engine.dispose)
        yield Rig(stack, recall, engine, redis, postgres, environ, watching, endpoint)


def doom(process: Process, package: str, environ: Mapping[str, str]) -> None:
    """Let a process, from its next start on, be one that can be told where to die."""
    process.become(f"python -m tests.faults.crash_points {package}", environ)


def app_database(server: Server) -> str:
    """Make a database that belongs to a role that is nobody special; returns its URL."""
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {ROLE} LOGIN")
        admin.execute(f"CREATE DATABASE rig OWNER {ROLE} TEMPLATE template0 ENCODING 'UTF8'")
    url = make_url(server.url).set(database="rig", username=ROLE)
    return url.render_as_string(hide_password=False)


def as_superuser(settings: Settings) -> Settings:
    """The settings of whoever looks on, whom no limit keeps out."""
    url = settings.database_url.set(username="postgres")
    return settings.model_copy(update={"database_url": url})


def family(process: Process) -> list[psutil.Process]:
    """A dyno's processes, itself first."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def named(process: Process, name: str) -> list[psutil.Process]:
    """A dyno's processes that gave themselves this name."""
    return [one for one in family(process) if quietly(one) == name]


def rq_workers(process: Process) -> list[psutil.Process]:
    """A dyno's RQ worker, whether it waits or drains."""
    return [*named(process, RQ_WORKER), *named(process, DRAINING)]


def words(rig: Rig) -> str:
    """All that the workers have said."""
    return "".join(worker.log.read_text() for worker in rig.stack.workers)


def is_linking(rig: Rig) -> bool:
    """Whether some bot is in somebody's hands."""
    held = select(func.count()).select_from(Bot).where(Bot.lease_token.is_not(None))
    # The database may be what is broken just now.
    with suppress(SQLAlchemyError), rig.engine.connect() as connection:
        return bool(connection.scalar(held))
    return False


def busy(rig: Rig) -> Process:
    """The worker dyno whose RQ worker drains; the first, where it is pollers that work."""

    def busy_ones() -> list[Process]:
        return [worker for worker in rig.stack.workers if named(worker, DRAINING)]

    with suppress(AssertionError):
        until(lambda: is_linking(rig) and bool(busy_ones()), "an RQ worker at work", 1)
    return next(iter(busy_ones()), rig.stack.workers[0])


def quietly(process: psutil.Process) -> str:
    """The name of a process that may have gone."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""
