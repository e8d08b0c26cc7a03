"""Room 6, boot: the demo cold and warm, how soon web and worker are up, and what they import."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from tests.bench.environment import BenchError, Ground, is_listening, until
from tests.bench.plan import Plan
from tests.bench.results import Figure, Results
from tests.lab.stack.servers import free_port
from tests.lab.stack.stack import ROOT, environment

ROOM = "boot"
DEMO_SECONDS = 300
ENTRANCES = {"web": "webhook.__main__", "worker": "workers.__main__"}


def run(ground: Ground, plan: Plan, results: Results) -> None:
    """Time the demo in a fresh copy of the tree, and both processes' starts."""
    folder = _copy(ground)
    rounds = plan.size(2, 1)
    for what in ("cold: makes .venv as well", *["warm"] * rounds):
        plan.say(f"boot: ./dev demo --once, {what}")
        results.add(Figure(ROOM, f"./dev demo --once, {what}", (_demo(folder),), "s"))
    starts: dict[str, Callable[[Ground], float]] = {"web": _start_web, "worker": _start_worker}
    for name, start in starts.items():
        plan.say(f"boot: {name}")
        seconds = tuple(start(ground) for _ in range(plan.rounds))
        results.add(Figure(ROOM, f"{name}: from exec to ready", seconds, "s"))
        milliseconds, modules, heaviest = imports(ENTRANCES[name])
        note = f"{modules} modules; most in {heaviest}"
        results.add(Figure(ROOM, f"{name}: imports", (milliseconds,), "ms", note=note))


def _copy(ground: Ground) -> Path:
    """Copy what git knows: no virtual environment, no cache."""
    folder = ground.sub("checkout")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True)  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def _demo(folder: Path) -> float:
    started = time.monotonic()
    done = subprocess.run([folder / "dev", "demo", "--once"], cwd=folder, check=False,
                          capture_output=True, text=True, timeout=DEMO_SECONDS)  # fmt: skip
    if done.returncode:
        raise BenchError(f"the demo failed\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
    return time.monotonic() - started


def _start_web(ground: Ground) -> float:
    port = free_port()
    environ = ground.service(ground.database(), ground.redis(), PORT=port)
    started = time.monotonic()
    process = ground.run("web", "python -m webhook", environ)
    until(lambda: is_listening(port), "the start of the web process", process)
    seconds = time.monotonic() - started
    process.stop()
    return seconds


def _start_worker(ground: Ground) -> float:
    environ: dict[str, Any] = ground.service(ground.database(), ground.redis())
    client = redis.Redis.from_url(environ["REDIS_URL"])
    started = time.monotonic()
    process = ground.run("worker", "python -m workers", environ)
    until(lambda: bool(client.scard("rq:workers")), "the start of the worker", process)
    seconds = time.monotonic() - started
    process.stop()
    return seconds


def imports(module: str) -> tuple[float, int, str]:
    """Return the milliseconds that importing takes, how many modules, the five heaviest trees."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), check=True,
                          capture_output=True, text=True)  # fmt: skip
    lines = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \|( +)(\S+)", done.stderr)
    total = sum(int(own) for own, *_ in lines) / 1000
    weights: dict[str, int] = {}
    for own, _, _, name in lines:
        top = name.partition(".")[0]
        weights[top] = weights.get(top, 0) + int(own)
    heaviest = sorted(weights, key=weights.__getitem__, reverse=True)[:5]
    told = ", ".join(f"{name} {weights[name] / 1000:.0f} ms" for name in heaviest)
    return total, len(lines), told
