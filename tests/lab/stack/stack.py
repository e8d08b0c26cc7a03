"""The local stack: the Procfile's own lines over a Redis of ours, kept alive, ended together."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.stack.servers import tied

ROOT = Path(__file__).parents[3]
READY_SECONDS = 30
STOP_SECONDS = 25
RESTART_SECONDS = 1.0

Environment = Mapping[str, str]


class StackError(Exception):
    """A line of the Procfile failed; the message holds the end of what it said."""


def procfile(path: Path = ROOT / "Procfile") -> dict[str, str]:
    """Return the Procfile's lines by name, in its order."""
    lines = (line.partition(":") for line in path.read_text().splitlines() if line.strip())
    return {name.strip(): command.strip() for name, _, command in lines}


def environment(**settings: object) -> dict[str, str]:
    """Return an environment in which the Procfile's words find this Python, and these settings."""
    words = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TERM") if name in os.environ}
    return kept | {"PATH": words} | {name: str(value) for name, value in settings.items()}


def refuse_a_taken_port(environ: Environment) -> None:
    """Raise StackError where PORT is held: its holder answers readyz, and would pass for ours."""
    host, port = environ.get("HOST", "127.0.0.1"), int(environ["PORT"])
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        words = f"port {port} cannot be had ({error.strerror}): end what holds it, or set PORT"
        raise StackError(words) from None


class Process:
    """One line of the Procfile, running, its words going to a log file."""

    def __init__(self, name: str, command: str, environ: Environment, log: Path) -> None:
        self.name = name
        self.log = log
        self._command: list[str] = []
        self._environ: dict[str, str] = {}
        self.become(command, environ)
        self._popen: subprocess.Popen[bytes] | None = None

    def become(self, command: str, environ: Environment) -> None:
        """Run this command, in this environment, from the next start on."""
        self._command = ["sh", "-c", f"exec {command}"]
        self._environ = dict(environ)

    @property
    def pid(self) -> int:
        """The running process's id."""
        if self._popen is None:
            raise StackError(f"{self.name} was not started")
        return self._popen.pid

    @property
    def is_started(self) -> bool:
        """Whether it was ever started."""
        return self._popen is not None

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._popen.poll() if self._popen else None

    def start(self) -> None:
        """Start it, in a process group of its own: Ctrl-C is ours to answer."""
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                tied(self._command),
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> int:
        """Wait for its end and return its code; subprocess.TimeoutExpired."""
        if self._popen is None:
            raise StackError(f"{self.name} was not started")
        return self._popen.wait(seconds)

    def signal(self, sig: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """End it by SIGTERM and return its code; killed with its whole group when it stays."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            return self.wait(5)

    def last_words(self, characters: int = 3000) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-characters:]


class Stack:
    """Release, then web and worker, until the with block ends; one that dies is started again."""

    def __init__(
        self,
        environ: Environment,
        folder: Path,
        *,
        workers: int = 1,
        restart: bool = True,
        on_restart: Callable[[Process], None] = lambda _: None,
    ) -> None:
        lines = procfile()
        self.url = f"http://127.0.0.1:{environ['PORT']}"
        self.release = Process("release", lines["release"], environ, folder / "release.log")
        self.web = Process("web", lines["web"], environ, folder / "web.log")
        self.workers = [
            Process(f"worker.{n}", lines["worker"], environ, folder / f"worker.{n}.log")
            for n in range(1, workers + 1)
        ]
        self._environ = environ
        self._restart = restart
        self._on_restart = on_restart
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        refuse_a_taken_port(self._environ)
        try:
            self.run_release()
            for process in self.processes:
                process.start()
            self.wait_until_ready()
        except BaseException:
            # Ctrl-C and SIGTERM as well: nothing of a half-started stack stays.
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def processes(self) -> list[Process]:
        """The processes that stay up."""
        return [self.web, *self.workers]

    def run_release(self) -> None:
        """Run the release line to its end; StackError when it fails."""
        self.release.start()
        if self.release.wait(READY_SECONDS * 2):
            raise StackError(f"the release line failed:\n{self.release.last_words()}")

    def wait_until_ready(self) -> None:
        """Wait for readyz to say yes; StackError when the web process ends instead, or in 30 s."""
        until = time.monotonic() + READY_SECONDS
        while not _says_yes(f"{self.url}/readyz"):
            if self.web.code is not None or time.monotonic() > until:
                raise StackError(f"the web line is not ready:\n{self.web.last_words()}")
            time.sleep(0.05)

    def keep_alive(self) -> None:
        """Start what died again, once a second, until `stop`."""
        while not self._is_over.wait(RESTART_SECONDS):
            for process in self.processes:
                if process.code is not None:
                    self._on_restart(process)
                    process.start()

    def stop(self) -> dict[str, int]:
        """End everything, web and workers at once; return how each ended."""
        self._is_over.set()
        started = [one for one in (self.release, *self.processes) if one.is_started]
        running = [process for process in started if process.code is None]
        for process in running:
            process.signal(signal.SIGTERM)
        return {process.name: process.stop() for process in running}


def _says_yes(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own loopback
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def kept_alive(stack: Stack) -> Iterator[Stack]:
    """Run a stack whose dead are started again."""
    with stack:
        thread = threading.Thread(target=stack.keep_alive, name="keep-alive", daemon=True)
        thread.start()
        yield stack
    thread.join(timeout=5)
