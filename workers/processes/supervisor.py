"""The supervisor of a worker dyno: it keeps two processes alive, the poller and the RQ worker.

It holds no SQL, no Redis and no thread, so that a child that dies can be forked afresh, with all
modules already loaded.
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

from models.core.sentry import set_up_sentry
from models.settings.environment import Settings
from workers.linking.context import make_context
from workers.processes.linux import die_with_parent, name_process
from workers.processes.poller import Poller
from workers.processes.rq_worker import RQ_WORKER, run_worker
from workers.shutdown import Stop

# Longer than a drain's own 4 s and a last transaction, and well inside a dyno's 30.
STOP_SECONDS = 12.0
# A child that dies at once is not started in a tight circle.
RESTART_SECONDS = 1.0
# Longer than a sweep with a drain in it, or a job, may take: what hangs in C hears no time-out.
SILENCE_SECONDS = 90.0

POLLER = "poller"

logger = structlog.stdlib.get_logger(__name__)

Beat = Callable[[], None]
Work = Callable[[Settings, ssl.SSLContext, Beat], None]


class Pulse:
    """A moment that parent and child both see."""

    def __init__(self) -> None:
        self._last = multiprocessing.RawValue("d", time.monotonic())

    def beat(self) -> None:
        """Be alive now."""
        self._last.value = time.monotonic()

    @property
    def is_gone(self) -> bool:
        """Whether the last beat is too long ago."""
        return bool(time.monotonic() - self._last.value > SILENCE_SECONDS)


def run_poller(settings: Settings, context: ssl.SSLContext, beat: Beat) -> None:
    """Sweep until SIGTERM; each look around is a beat."""
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.request())
    set_up_sentry(settings)
    Poller(make_context(settings, context), stop, beat).run()


class Supervisor:
    """Runs the children until SIGTERM or SIGINT, and ends them within 12 s."""

    def __init__(self, settings: Settings, context: ssl.SSLContext) -> None:
        self._arguments = (settings, context)
        self._work: dict[str, Work] = {POLLER: run_poller}
        if settings.redis_url is None:
            logger.warning("REDIS_URL is not set: this worker sweeps only")
        else:
            self._work[RQ_WORKER] = run_worker
        self._pulses = {name: Pulse() for name in self._work}
        self._children: dict[str, ForkProcess] = {}
        self._restart_at: dict[str, float] = dict.fromkeys(self._work, 0.0)
        self._is_stopping = False
        self._wake_reader, self._wake_writer = socket.socketpair()

    def run(self) -> None:
        """Keep the children alive until told to stop."""
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
        # A byte is what wakes the wait: the interrupted call goes on otherwise.
        self._wake_writer.send(b"!")

    def _start_missing(self) -> None:
        now = time.monotonic()
        for name, work in self._work.items():
            if name not in self._children and now >= self._restart_at[name]:
                self._restart_at[name] = now + RESTART_SECONDS
                self._children[name] = self._fork(name, work)

    def _fork(self, name: str, work: Work) -> ForkProcess:
        # Forked, not spawned: the children share the pages of everything already imported.
        context = multiprocessing.get_context("fork")
        pulse = self._pulses[name]
        arguments = (name, work, *self._arguments, pulse.beat)
        child = context.Process(target=_child, args=arguments, name=name)
        # Its own first beat comes a moment later.
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
    # Ctrl-C reaches the whole terminal: the parent answers it for all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    work(settings, context, beat)
    # Link threads may still hang in a call; nothing of theirs is worth waiting for.
    os._exit(0)
