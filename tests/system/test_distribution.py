"""The package as a stranger gets it: a wheel, installed by the lock into an empty environment."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.core.version import VERSION
from tests.conftest import API_KEY, ROOT, SECRET, unavailable
from tests.lab.stack.servers import free_port
from tests.support.console_client import READ
from tests.support.processes import until

ROOMS = ("models", "workers", "webhook", "migrations")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What a checkout gathers; an old build folder would leak into the wheel.
LEFT_OUT = shutil.ignore_patterns(
    ".*", "__pycache__", "*.pyc", "build", "*.egg-info", "*.db", "pictures"
)


def normal(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    """The distributions that pyproject.toml asks for."""
    extra = PYPROJECT["optional-dependencies"]
    asked = [*PYPROJECT["dependencies"], *(one for name in extras for one in extra[name])]
    return {normal(re.split(r"[\[<>=!~ ;]", one)[0]) for one in asked}


def third_parties(*folders: str) -> Iterator[tuple[str, Path]]:
    """Each import of what is neither ours nor Python's, those for types alone included."""
    for path in [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for top in {name.partition(".")[0] for name in names}:
                if top not in {*sys.stdlib_module_names, *ROOMS, "tests"}:
                    yield top, path


def files_of_rooms(folder: Path) -> set[str]:
    """Every file that belongs to the package."""
    found = (path for room in ROOMS for path in (folder / room).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found if path.suffix != ".pyc"}


# -- what is declared ----------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "extras"), [(room, ()) for room in ROOMS] + [("tests", ("dev",))]
)
def test_every_import_of_a_third_party_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    """What another package happens to bring along may be gone with its next release."""
    homes = packages_distributions()
    for top, path in third_parties(folder):
        if "peers" in path.parts:
            continue
        owners = {normal(name) for name in homes.get(top, [top])}
        assert owners & declared(*extras), f"{path.relative_to(ROOT)} imports {top}"


@pytest.mark.parametrize(
    ("lock", "extras"), [("requirements.txt", ()), ("requirements-dev.txt", ("dev",))]
)
def test_every_declared_package_is_pinned(lock: str, extras: tuple[str, ...]) -> None:
    """A lock that is older than pyproject.toml installs without what is new."""
    pinned = re.findall(r"^([a-z0-9][\w.-]*)==", (ROOT / lock).read_text(), re.MULTILINE)
    assert declared(*extras) - {normal(name) for name in pinned} == set()


# -- the wheel -----------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of this tree, built by the pinned setuptools without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=LEFT_OUT)
    words = ["wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    _run(sys.executable, "-m", "pip", *words, "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_rooms_and_no_other(wheel: Path) -> None:
    """Each module, template, stylesheet and migration; nothing of the tests."""
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == files_of_rooms(ROOT)
    assert wheel.name.startswith(f"recall_links-{VERSION}-")


@pytest.mark.timeout(400)
def test_an_installed_wheel_serves_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """Its version, the tables, the status, a page with its stylesheet, and a worker at work."""
    empty = tmp_path / "empty"
    empty.mkdir()
    programs = install(wheel, tmp_path / "venv")
    ours = str(programs / "recall-links")
    assert _run(ours, "--version", cwd=empty).split()[-1] == VERSION
    assert "at " in _run(ours, "db", "upgrade", cwd=empty)
    assert "differs" not in _run(ours, "db", "check", cwd=empty)
    assert _workers(ours, empty) == []
    with started(programs, "webhook", empty) as url:
        until(lambda: fetched(f"{url}/readyz") is not None, "readyz")
        assert b"console.css" in (fetched(f"{url}/console/") or b"")
        assert fetched(f"{url}/console/static/console.css") == _source("console.css")
        assert b'"items"' in (fetched(f"{url}/api/links") or b"")
    with started(programs, "workers", empty):
        until(lambda: _workers(ours, empty) != [], "a worker's heartbeat")


def install(wheel: Path, venv: Path) -> Path:
    """Install the lock and the wheel into a new environment; returns where its programs are."""
    python = venv / "bin" / "python"
    _run(sys.executable, "-m", "venv", "--without-pip", venv)
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile")
    exact = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "-r")
    try:
        _run(*pip, *exact, ROOT / "requirements.txt", environ=dict(os.environ))
    except AssertionError as error:
        # Without a network there is no second environment.
        unavailable(error)
    _run(*pip, "--no-deps", "--no-index", wheel)
    return venv / "bin"


@contextmanager
def started(programs: Path, module: str, cwd: Path) -> Iterator[str]:
    """Run `python -m module` with the settings it needs and nothing else; it must end well."""
    port = free_port()
    environ = {"HOST": "127.0.0.1", "PORT": str(port), "RECALL_API_KEY": API_KEY}
    environ |= {"RECALL_API_BASE_URL": "http://127.0.0.1:9", "OPS_READ_TOKENS": READ}
    environ |= {"RECALL_WEBHOOK_SECRETS": SECRET}
    command = [str(programs / "python"), "-m", module]
    process = subprocess.Popen(
        command, cwd=cwd, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=40)
    assert process.returncode == 0, said


def fetched(url: str) -> bytes | None:
    """What an address answers with 200; None for all else."""
    try:
        answer = httpx.get(url, headers={"Authorization": f"Bearer {READ}"})
    except httpx.HTTPError:
        return None
    return answer.content if answer.status_code == 200 else None


def _source(name: str) -> bytes:
    return (ROOT / "webhook" / "static" / name).read_bytes()


def _workers(program: str, cwd: Path) -> list[Any]:
    done = subprocess.run(
        [program, "status", "--json"], cwd=cwd, env={}, check=False, capture_output=True
    )
    workers: list[Any] = json.loads(done.stdout)["workers"]
    return workers


def _run(*words: str | Path, cwd: Path | None = None, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words, cwd=cwd, env=environ or {}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
