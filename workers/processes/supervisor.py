"""The supervisor of a worker dyno: it keeps two processes alive, the poller and the RQ worker.

It has no database connection, no Redis and no threads, so it can fork a new child at any time, with
all modules already loaded.
"""

import multiprocessing
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from types import FrameType

import structlog
from sqlalchemy import Engine

from models.core.engine import make_engine
from models.core.sentry import set_up_sentry
from models.settings.environment import Settings
from workers.events.publisher import MOST_ANSWER_BYTES, Publisher
from workers.linking.context import WorkerContext, make_context
from workers.processes.linux import die_with_parent, name_process
from workers.processes.poller import Poller
from workers.processes.rq_worker import RQ_WORKER, run_worker
from workers.recall_api.transport import HttpClient
from workers.shutdown import Stop

# Longer than a drain's own 4 s and a last transaction, and well below Heroku's 30 s.
STOP_SECONDS = 12.0
# A child that dies at once is restarted at most once a second.
RESTART_SECONDS = 1.0
# Longer than any sweep or job may take. Code that hangs in C ignores Python's time-outs.
SILENCE_SECONDS = 90.0

POLLER = "poller"

logger = structlog.stdlib.get_logger(__name__)

Beat = Callable[[], None]
Work = Callable[[Settings, ssl.SSLContext, Beat], None]


class Pulse:
    """The time of a child's last beat, in memory shared with the parent."""

    def __init__(self) -> None:
        self._last = multiprocessing.RawValue("d", time.monotonic())

    def beat(self) -> None:
        """Record a beat."""
        self._last.value = time.monotonic()

    @property
    def is_gone(self) -> bool:
        """Whether the last beat is too long ago."""
        return bool(time.monotonic() - self._last.value > SILENCE_SECONDS)


def run_poller(settings: Settings, context: ssl.SSLContext, beat: Beat) -> None:
    """Sweep until SIGTERM; each sweep is a beat."""
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.request())
    set_up_sentry(settings)
    tools = make_context(settings, context)
    publisher = Publisher(settings, _event_engine(tools), _event_client(tools), stop)
    publisher.start()
    Poller(tools, stop, beat).run()


def _event_engine(tools: WorkerContext) -> Engine:
    # The poller holds its connection for long only where it drains by itself, without Redis.
    if tools.settings.redis_url and not tools.settings.on_sqlite:
        return tools.engine
    return make_engine(tools.settings, "write")


def _event_client(tools: WorkerContext) -> HttpClient:
    return HttpClient(tools.ssl, MOST_ANSWER_BYTES)


class Supervisor:
    """Runs the children until SIGTERM or SIGINT, and ends them within 12 s."""

    def __init__(self, settings: Settings, context: ssl.SSLContext) -> None:
        self._arguments = (settings, context)
        self._work: dict[str, Work] = {POLLER: run_poller}
        if settings.redis_url is None:
            logger.warning("REDIS_URL is not set: this worker runs the poller only")
        else:
            self._work[RQ_WORKER] = run_worker
        self._pulses = {name: Pulse() for name in self._work}
        self._children: dict[str, ForkProcess] = {}
        self._restart_at: dict[str, float] = dict.fromkeys(self._work, 0.0)
        self._is_stopping = False
        self._wake_reader, self._wake_writer = socket.socketpair()

    def run(self) -> None:
        """Keep the children alive until a signal."""
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._request_stop)
        while not self._is_stopping:
            self._start_missing()
            sentinels = [child.sentinel for child in self._children.values()]
            wait([self._wake_reader, *sentinels], timeout=RESTART_SECONDS)
            self._kill_silent()
            self._collect_dead()
        self._end_children()

    def _request_stop(self, _signum: int, _frame: FrameType | None) -> None:
        self._is_stopping = True
        # A byte ends the wait, which a signal alone does not interrupt.
        self._wake_writer.send(b"!")

    def _start_missing(self) -> None:
        now = time.monotonic()
        for name, work in self._work.items():
            if name not in self._children and now >= self._restart_at[name]:
                self._restart_at[name] = now + RESTART_SECONDS
                self._children[name] = self._fork(name, work)

    def _fork(self, name: str, work: Work) -> ForkProcess:
        # Forked, not spawned: the children share the memory of all imported modules.
        context = multiprocessing.get_context("fork")
        pulse = self._pulses[name]
        arguments = (name, work, *self._arguments, pulse.beat)
        child = context.Process(target=_child, args=arguments, name=name)
        # The child's own first beat comes a moment later.
        pulse.beat()
        child.start()
        return child

    def _kill_silent(self) -> None:
        for name, child in self._children.items():
            if self._pulses[name].is_gone:
                logger.warning("child has been silent for too long, killed", child=name)
                child.kill()
                child.join()

    def _collect_dead(self) -> None:
        for name, child in list(self._children.items()):
            if child.exitcode is not None:
                del self._children[name]
                if not self._is_stopping:
                    logger.warning("child ended, starting another", child=name, code=child.exitcode)

    def _end_children(self) -> None:
        for child in self._children.values():
            child.terminate()
        until = time.monotonic() + STOP_SECONDS
        for name, child in self._children.items():
            child.join(max(0.0, until - time.monotonic()))
            if child.exitcode is None:
                logger.warning("child did not end in time, killed", child=name)
                child.kill()
                child.join()


def _child(name: str, work: Work, settings: Settings, context: ssl.SSLContext, beat: Beat) -> None:
    name_process(name)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C reaches all processes of the terminal; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    work(settings, context, beat)
    # Without waiting for link threads that may still hang in a call.
    os._exit(0)
