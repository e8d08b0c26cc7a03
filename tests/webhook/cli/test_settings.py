"""Where the command line's settings come from, and which file it looks at without any."""

import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.conftest import ROOT
from tests.lab.stack.stack import environment
from tests.lab.stack.up import read_settings
from tests.support.cli_terminal import Typist, a_zygote
from webhook.cli.main import cli

ROOMS = ("bin", "dev", "Procfile", "models", "webhook", "workers", "migrations")
OURS = str(ROOT / "bin" / "recall-links")
AWAY = {"RECALL_API_KEY": "key", "RECALL_API_BASE_URL": "http://127.0.0.1:9"}
# What each command must be given to get as far as the database.
GIVEN = {
    "explain": ["00000000-0000-4000-8000-000000000000"],
    "relink": ["--link-state", "failed", "--yes"],
    "export": ["ada"],
    "erase": ["ada", "--yes"],
    "lift": ["ada", "--yes"],
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout without a .env and without a .venv."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for room in ROOMS:
        (folder / room).symlink_to(ROOT / room)
    return folder


def ask(folder: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line as it is installed, in a folder."""
    environ = environment(PYTHONPATH=ROOT, **settings)
    command = [sys.executable, "-m", "webhook.cli.main", *words]
    return subprocess.run(
        command, cwd=folder, env=environ, check=False, capture_output=True, text=True
    )


def test_a_checkout_is_asked_by_the_env_file_that_up_reads(checkout: Path) -> None:
    """It says so in one line on standard error, and the environment's own word wins."""
    (checkout / ".env").write_text("DATABASE_URL='sqlite:///there.db'  # mine\nLOG_LEVEL=\n")
    assert ask(checkout, "db", "upgrade").returncode == 0
    assert (checkout / "there.db").exists()
    said = ask(checkout, "links")
    assert said.returncode == 1
    assert said.stderr == f"recall-links: also reading settings from {checkout}/.env\n"
    other = ask(checkout, "links", DATABASE_URL="sqlite:///other.db")
    assert f"no database file {checkout}/other.db" in other.stderr
    assert "reading settings" not in other.stderr


def test_bin_reads_the_checkouts_env_file_wherever_the_shell_stands(checkout: Path) -> None:
    """The script goes to its checkout before it asks."""
    (checkout / ".env").write_text("DATABASE_URL=sqlite:///there.db\n")
    (checkout / "bin").unlink()
    shutil.copytree(ROOT / "bin", checkout / "bin")
    done = subprocess.run(
        [checkout / "bin" / "recall-links", "links"],
        cwd="/",
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
    )
    assert f"also reading settings from {checkout}/.env" in done.stderr
    assert f"no database file {checkout}/there.db" in done.stderr


@pytest.mark.parametrize("where", ["a dyno", "another folder"])
def test_elsewhere_no_env_file_is_read(checkout: Path, where: str, tmp_path: Path) -> None:
    """A dyno has its config vars alone, and a folder that is no checkout is somebody else's."""
    folder = checkout if where == "a dyno" else tmp_path
    (folder / ".env").write_text("RECALL_REGION=nowhere\n")
    dyno = {"DYNO": "run.1", "DATABASE_URL": "postgres://x@127.0.0.1:1/x"}
    said = ask(folder, "links", **dyno if where == "a dyno" else {})
    assert ".env" not in said.stderr
    assert said.returncode == 3, said.stderr


def test_up_and_the_command_line_read_alike(tmp_path: Path) -> None:
    """The file, and over it what is in the environment; empty is unset in both."""
    path = tmp_path / ".env"
    path.write_text("PORT=1\nHOST=a\nLOG_LEVEL=\n")
    environ = {"PORT": "2", "HOST": "", "SENTRY_DSN": "x", "SHELL": "sh"}
    assert read_settings(path, environ) == {"PORT": "2", "HOST": "a", "SENTRY_DSN": "x"}


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command."""
    if not isinstance(command, click.Group):
        return [path]
    return [leaf for name, one in command.commands.items() for leaf in leaves(one, (*path, name))]


def test_no_command_but_upgrade_makes_a_database(tmp_path: Path) -> None:
    """Each of the others says which file it looked at, and leaves none behind."""
    (tmp_path / "said").mkdir()
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "recall-links.db"
    with a_zygote() as zygote:
        ada = Typist(zygote, tmp_path / "said", DATABASE_URL=f"sqlite:///{path}")
        for leaf in leaves(cli):
            if leaf in (("completion",), ("db", "upgrade")):
                continue
            said = ada.piped(*leaf, *GIVEN.get(leaf[-1], []), **AWAY)
            assert said.code in (2, 3), (leaf, said)
            assert said.code == 2 or f"no database file {path}" in said.err + said.out, (leaf, said)
            assert list(path.parent.iterdir()) == [], leaf


def test_without_database_url_the_file_is_looked_for_here(tmp_path: Path) -> None:
    """And named whole, with what makes it and what names another."""
    said = ask(tmp_path, "links")
    assert said.returncode == 3
    assert f"there is no database file {tmp_path}/recall-links.db" in said.stderr
    assert "DATABASE_URL" in said.stderr
    assert "db upgrade" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_before_the_first_dev_the_script_says_what_to_run(tmp_path: Path) -> None:
    """No Python at all, or one without our packages: one line, and exit 2."""
    shell, tools = shutil.which("sh"), tmp_path / "tools"
    tools.mkdir()
    assert shell
    (tools / "dirname").symlink_to(shutil.which("dirname") or "")
    (tmp_path / "bin").mkdir()
    script = Path(shutil.copy(OURS, tmp_path / "bin"))
    for python in (None, "#!/bin/sh\nexit 1\n"):
        if python is not None:
            (tools / "python").write_text(python)
            (tools / "python").chmod(0o755)
        done = subprocess.run(
            [shell, script, "links"],
            env={"PATH": str(tools)},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "run ./dev" in done.stderr
