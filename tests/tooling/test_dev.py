"""./dev itself: the Python it starts with, and how it ends."""

import ast
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import API_KEY, ROOT, SECRET
from tests.lab.stack.servers import free_port
from tests.lab.stack.stack import environment
from tests.support.processes import can_connect, until

SOURCE = (ROOT / "dev").read_text()
OLD = [f"python3.{minor}" for minor in range(6, 11)]
ENDINGS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
# ./dev as it is, over this Python in place of .venv's, and without a set-up.
PROGRAM = """
import signal, sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
sys.dont_write_bytecode = True
# A shell's & shuts this off, and so may have whoever runs the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
loader = SourceFileLoader("dev", "dev")
dev = module_from_spec(spec_from_loader("dev", loader))
loader.exec_module(dev)
dev.PYTHON = Path(sys.executable)
dev.set_up = lambda *_: None
"""
SLEEPER = "import time; print('here', flush=True); time.sleep(60)"


def annotations() -> list[ast.expr]:
    """Every annotation of the script."""
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.FunctionDef):
            found.append(node.returns)
        if isinstance(node, ast.arg | ast.AnnAssign):
            found.append(node.annotation)
    return [one for one in found if one is not None]


def test_any_python_3_can_read_the_script() -> None:
    """The syntax is 3.6's, and no annotation is more than a plain name when it is evaluated."""
    ast.parse(SOURCE, feature_version=(3, 6))
    assert annotations()
    for one in annotations():
        assert isinstance(one, ast.Name | ast.Constant), ast.unparse(one)


@pytest.mark.parametrize("older", OLD)
def test_an_older_python_looks_for_a_newer_one(older: str, tmp_path: Path) -> None:
    """It becomes the newer one where there is one, and says what is needed where there is none."""
    python = shutil.which(older)
    if python is None or subprocess.run([python, "-c", ""], check=False).returncode:
        pytest.skip(f"no {older} here")
    command = [python, str(ROOT / "dev"), "help"]
    nothing = {"PATH": str(tmp_path)}
    done = subprocess.run(command, env=nothing, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "./dev needs Python 3.11 or newer\n")
    newer = tmp_path / "python3.11"
    newer.write_text('#!/bin/sh\necho "newer: $2"\n')
    newer.chmod(0o755)
    done = subprocess.run(command, env=nothing, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "newer: help\n")


@pytest.mark.parametrize("sig", ENDINGS)
@pytest.mark.parametrize("how", ["run", "become"])
def test_a_signal_to_dev_ends_what_it_runs_and_what_would_follow(
    sig: signal.Signals, how: str
) -> None:
    """The one process that runs or becomes another: nothing is left, and no next step begins."""
    program = f"{PROGRAM}\ndev.{how}('-c', {SLEEPER!r})\nprint('next')"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stdout.readline() == "here\n"
        process.send_signal(sig)
        # The pipe ends only when nobody holds it: the sleeper is gone as well.
        assert process.stdout.read() == ""
    assert process.returncode in (128 + sig, -sig)


def commands() -> dict[str, str]:
    """The last call in each command of the script."""
    found = ast.parse(SOURCE).body
    bodies = {one.name: ast.unparse(one) for one in found if isinstance(one, ast.FunctionDef)}
    names = re.findall(r"^    \./dev (\w+)", SOURCE, re.MULTILINE)
    return {name: bodies[name] for name in names}


def test_every_command_hands_signals_on() -> None:
    """None of them runs our programs by another way than these two."""
    assert {"demo", "up", "test", "fuzz", "soak", "check", "audit", "bench"} <= set(commands())
    for name, body in commands().items():
        assert name == "lock" or re.search(r"\b(run|become)\(", body), name
        assert name == "lock" or "subprocess" not in body


def env_file(folder: Path, port: int) -> Path:
    """What `up` needs to run against nobody."""
    path = folder / ".env"
    path.write_text(
        f"RECALL_API_KEY={API_KEY}\nRECALL_WEBHOOK_SECRETS={SECRET}\nPORT={port}\n"
        f"RECALL_API_BASE_URL=http://127.0.0.1:9\nDATABASE_URL=sqlite:///{folder}/up.db\n"
    )
    return path


def up(path: Path) -> "subprocess.Popen[str]":
    """Run `./dev up`."""
    program = f"{PROGRAM}\nsys.exit(dev.main(['up', '--env-file', {str(path)!r}]))"
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(), stdout=pipe, text=True
    )


@pytest.mark.timeout(300)
def test_up_ends_whole_by_each_signal_and_names_a_taken_port(tmp_path: Path) -> None:
    """After SIGTERM, SIGHUP and Ctrl-C the port is free at once and no process is left."""
    port = free_port()
    path = env_file(tmp_path, port)
    for sig in ENDINGS:
        with up(path) as first:
            assert first.stdout
            until(lambda out=first.stdout: "console is" in out.readline(), "the stack")  # type: ignore[misc]
            with up(path) as second:
                said = second.communicate(timeout=60)[0]
            assert (second.returncode, f"port {port} cannot be had" in said) == (1, True), said
            assert can_connect(port)
            os.kill(first.pid, sig)
            first.communicate(timeout=60)
        assert first.returncode == 0
        assert not can_connect(port)


def test_a_stack_that_is_ended_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    """SIGTERM comes as the release line runs: whatever holds the pipe has gone when it ends."""
    with up(env_file(tmp_path, free_port())) as process:
        until((ROOT / ".lab" / "up" / "release.log").exists, "the release line")
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode != 0


def test_a_taken_port_is_told_apart_from_ours(tmp_path: Path) -> None:
    """Somebody who only listens is enough, and nothing was started."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with up(env_file(tmp_path, port)) as process:
            said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert f"port {port} cannot be had" in said
    assert not (tmp_path / "up.db").exists()
