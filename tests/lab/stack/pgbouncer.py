"""A real PgBouncer before a PostgreSQL, found or installed, with its package's own settings."""

import configparser
import contextlib
import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.lab.stack.servers import (
    Server,
    ServerUnavailableError,
    free_port,
    tied,
    wait_until_ready,
)

LOCK = Path(tempfile.gettempdir()) / "recall-links-pgbouncer.lock"
STOCK = Path("/etc/pgbouncer/pgbouncer.ini")
SECTION = "pgbouncer"


def pgbouncer_binary() -> str:
    """Return PgBouncer's path, installing it where apt can; ServerUnavailableError says why not."""
    # pytest's workers come here at once, and apt lets one in.
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := _found():
            return found
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise ServerUnavailableError("no PgBouncer: apt install pgbouncer")
        environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for step in (["update"], ["install", "-y", "--no-install-recommends", "pgbouncer"]):
            command = ["apt-get", "-q", *step]
            done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
            if done.returncode:
                words = f"no PgBouncer: {' '.join(command)}: {done.stderr[-300:]}"
                raise ServerUnavailableError(words)
        return _found() or ""


def _found() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def start_pgbouncer(
    folder: Path, database: str, users: Mapping[str, str], **settings: str
) -> Server:
    """Start one in `folder` before a database's URL; `users` are names with their passwords.

    It has the settings that its package came with, but for `settings` and where things are.
    """
    port, log = free_port(), folder / "pgbouncer.log"
    behind = conninfo_to_dict(database)
    given = configparser.ConfigParser(interpolation=None, strict=False)
    if STOCK.exists():
        given.read(STOCK)
    else:
        given.add_section(SECTION)
    places = {"listen_addr": "127.0.0.1", "listen_port": str(port), "unix_socket_dir": ""}
    places |= {"logfile": "", "pidfile": str(folder / "pgbouncer.pid")}
    given[SECTION].update(places | {"auth_file": str(folder / "users.txt")} | settings)
    name = str(behind["dbname"])
    where = {key: str(behind[key]) for key in ("host", "port", "dbname")}
    given["databases"] = {name: make_conninfo(**where)}
    with (folder / "pgbouncer.ini").open("w") as written:
        given.write(written)
    listed = "".join(f'"{user}" "{password}"\n' for user, password in users.items())
    (folder / "users.txt").write_text(listed)
    user, password = next(iter(users.items()))
    url = f"postgresql://{user}:{password}@127.0.0.1:{port}/{name}"
    command = tied([pgbouncer_binary(), folder / "pgbouncer.ini"], _unprivileged(folder))

    def launch() -> "subprocess.Popen[bytes]":
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_until_ready(lambda: _accepts(url), process, log)
        return process

    return Server(url, log, launch, launch())


def _unprivileged(folder: Path) -> int | None:
    """Give the folder to nobody: PgBouncer does not run as root."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody").pw_uid
    for path in (folder, *folder.iterdir()):
        os.chown(path, nobody, -1)
    return nobody


def _accepts(url: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2).close()
        return True
    return False
