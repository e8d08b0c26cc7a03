"""The command line as a person or a script uses it: piped, or on a terminal, by real processes."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT, SECRET
from tests.lab.stack.stack import environment

TERMINAL = {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "50"}


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str = ""


class Typist:
    """Types commands in one environment; each is run by a fork of the loaded program."""

    def __init__(self, zygote: "subprocess.Popen[str]", folder: Path, **settings: str) -> None:
        self._zygote = zygote
        self._folder = folder
        self.environ = environment(USER="ada", RECALL_WEBHOOK_SECRETS=SECRET, **settings)

    def piped(self, *words: str, **settings: str) -> Said:
        """Run a command whose words go into files."""
        out, err = self._folder / "out", self._folder / "err"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        files = [(os.devnull, os.O_RDONLY), (str(out), flags), (str(err), flags)]
        code = self._run(words, self.environ | settings, files)
        # In bytes: a reader of text would turn the line ends of CSV.
        said = Said(code, out.read_bytes().decode(), err.read_bytes().decode())
        assert "Traceback" not in said.out + said.err, said.err
        return said

    def on_terminal(self, *words: str, answer: bytes = b"", **settings: str) -> Said:
        """Run a command on a terminal of 160 columns; what it says and asks comes as one text."""
        with _terminal() as (master, name):
            os.write(master, answer)
            heard: list[bytes] = []
            reader = threading.Thread(target=_hear, args=(master, heard))
            reader.start()
            files = [(name, os.O_RDWR)] * 3
            code = self._run(words, self.environ | TERMINAL | settings, files)
        reader.join()
        return Said(code, b"".join(heard).decode())

    def _run(
        self, words: tuple[str, ...], environ: dict[str, str], files: list[tuple[str, int]]
    ) -> int:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        asked = {"words": words, "environ": environ, "files": files}
        self._zygote.stdin.write(json.dumps(asked) + "\n")
        self._zygote.stdin.flush()
        return int(self._zygote.stdout.readline())


@contextmanager
def _terminal() -> Iterator[tuple[int, str]]:
    master, slave = pty.openpty()
    reader_end = os.dup(master)
    try:
        yield reader_end, os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


def _hear(descriptor: int, heard: list[bytes]) -> None:
    # A terminal that nobody holds any more ends with an error (Linux), not with nothing.
    with contextlib.suppress(OSError):
        while chunk := os.read(descriptor, 65536):
            heard.append(chunk)
    os.close(descriptor)


@contextmanager
def a_zygote() -> Iterator["subprocess.Popen[str]"]:
    """Run the process that forks for each command."""
    command = [sys.executable, "-m", "tests.support.cli_forkserver"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0
