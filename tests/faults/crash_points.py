"""`python -m tests.faults.crash_points webhook|workers`: a process that dies at a told point.

The file DOOM names one of POINTS and who dies there with it (self, parent or dyno), by kill -9.
Whoever gets there takes the file away; where it also names what the call must be about, the file
stays, and kills again. CLOCK_SHIFT moves the process's wall clock by so many seconds.
LEASE_SECONDS, a setting of bots' leases, holds here for the leases of events as well.
"""

import datetime as dt
import functools
import importlib
import json
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

# Nothing of ours is imported here: its columns would be of the real datetime, not of the shifted.
POINTS = {
    "before the commit": "webhook.receiver.storage:Inbox.store:before",
    "between commit and answer": "webhook.receiver.storage:Inbox.store:after",
    "job taken": "workers.processes.rq_worker:DrainWorker.execute_job:before",
    "job prepared": "workers.processes.rq_worker:DrainJob.drain:before",
    "applying, deliveries read": "workers.linking.apply_deliveries:_apply:before",
    "applying, bots written": "workers.linking.apply_deliveries:write_bot_states:after",
    "applying, before the commit": "workers.linking.apply_deliveries:_apply:after",
    "applied": "workers.linking.drain:apply_batch:after",
    "claiming, before the commit": "workers.linking.leases:_known_links:after",
    "claimed": "workers.linking.claiming:BotClaims.claim:after",
    "linking": "workers.linking.linker:Linker.link_bot:before",
    "bot fetched": "workers.linking.linker:Linker._bot:after",
    "token made": "workers.linking.linker:Linker._token:after",
    "meeting fetched": "workers.linking.linker:Linker._fetch:after",
    "tokens stored, before the commit": "workers.linking.token_broker:keep_tokens:after",
    "linked": "workers.linking.linker:Linker.link_bot:after",
    "saving, bots written": "workers.linking.save_bots:write_meetings:before",
    "saving, links written": "workers.linking.save_bots:write_links:after",
    "saving, before the commit": "workers.linking.saving:add_hourly_counts:after",
    "saved": "workers.linking.saving:log_saved:before",
    "reporting, links written": "workers.outbox.links:write_events:before",
    "reporting, events written": "workers.outbox.links:write_events:after",
    "reporting, end written": "workers.linking.save_bots:report_ended:after",
    "numbering, before the commit": "workers.events.publisher:number_events:after",
    "numbered": "workers.events.publisher:Publisher.number:after",
    "delivery leased": "workers.events.sender:EndpointSender._post:before",
    "delivery posted": "workers.events.sender:EndpointSender._post:after",
    "delivery saved, before the commit": "workers.events.sender:settle:after",
    "drained, RQ not told": "workers.processes.rq_worker:DrainJob.drain:after",
}

_real_datetime = dt.datetime


def main() -> None:
    """Arrange the dooms, then be the process that was asked for."""
    if shift := float(os.environ.get("CLOCK_SHIFT", "0")):
        shift_clock(shift)
    if lease := os.environ.get("LEASE_SECONDS"):
        deliveries: Any = importlib.import_module("workers.events.deliveries")
        deliveries.LEASE_SECONDS = float(lease)
    package = sys.argv.pop(1)
    for point, where in POINTS.items():
        module, name, moment = where.split(":")
        if module.startswith(package):
            arrange(point, importlib.import_module(module), name.split("."), moment)
    runpy.run_module(package, run_name="__main__", alter_sys=True)


def arrange(point: str, place: Any, path: list[str], moment: str) -> None:
    """Wrap a function or method in what kills."""
    for part in path[:-1]:
        place = getattr(place, part)
    function: Callable[..., Any] = getattr(place, path[-1])
    dyno = os.getpid()

    @functools.wraps(function)
    def doomed(*args: Any, **kwargs: Any) -> Any:
        if moment == "before":
            strike(point, dyno, args)
        result = function(*args, **kwargs)
        if moment == "after":
            strike(point, dyno, args)
        return result

    setattr(place, path[-1], doomed)


def strike(point: str, dyno: int, about: object) -> None:
    """Kill, if this is the point and it is time."""
    file = Path(os.environ["DOOM"])
    try:
        told = json.loads(file.read_text())
        if told["at"] != point or (told["about"] or "") not in repr(about):
            return
        if not told["about"]:
            # Whoever takes it away is the one: there may be several at this point.
            file.unlink()
    except FileNotFoundError:
        return
    for pid in victims(told["with"], dyno):
        os.kill(pid, signal.SIGKILL)


def victims(who: str, dyno: int) -> list[int]:
    """Who is killed, oneself last."""
    others = {"self": [], "parent": [os.getppid()]}.get(who)
    if others is None:
        others = [dyno, *(child.pid for child in psutil.Process(dyno).children(recursive=True))]
    return [*(pid for pid in others if pid != os.getpid()), os.getpid()]


def shift_clock(seconds: float) -> None:
    """Let this process, and what it forks, believe in another time."""
    true_time = time.time
    shift = dt.timedelta(seconds=seconds)

    class Anytime(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, _real_datetime)

    class Shifted(_real_datetime, metaclass=Anytime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return _real_datetime.now(tz) + shift

    time.time = lambda: true_time() + seconds
    dt.datetime = Shifted  # type: ignore[misc]


if __name__ == "__main__":
    main()
