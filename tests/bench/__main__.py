"""`python -m tests.bench`, by way of `./dev bench`: runs the rooms that are asked for."""

import argparse
import json
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tests.bench import boot, economy, events, growth, latency, receiver, worker
from tests.bench.environment import PEERS, Ground
from tests.bench.plan import Plan
from tests.bench.report import as_json, print_tables, write
from tests.bench.results import Results
from tests.lab.stack.signals import end_as_by_ctrl_c

Room = Callable[[Ground, Plan, Results], None]
ROOMS: dict[str, Room] = {
    "receiver": receiver.run,
    "worker": worker.run,
    "economy": economy.run,
    "latency": latency.run,
    "growth": growth.run,
    "boot": boot.run,
    "events": events.run,
}


def main() -> int:
    """Run; 0 when every target was met, 1 when one was missed, 3 when a run was thrown out."""
    given = _arguments()
    if not (PEERS / "python").exists():
        print("the peers are not installed: run ./dev bench", file=sys.stderr)
        return 2
    plan = Plan(given.rounds, given.quick, given.most, Console(stderr=True))
    results = Results()
    for name in given.only or ROOMS:
        try:
            with Ground() as ground:
                ROOMS[name](ground, plan, results)
        except Exception as error:  # noqa: BLE001 - the other rooms are worth having all the same
            results.thrown_out.append(f"the room {name}: {error}")
            plan.console.print(traceback.format_exc(), highlight=False, markup=False)
    command = shlex.join(["./dev", "bench", *sys.argv[1:]])
    if given.json:
        print(json.dumps(as_json(results)))
    else:
        print_tables(results, Console())
    if given.write:
        write(results, given.write, command)
    return _code(results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=list(ROOMS), help="this room; repeatable"
    )
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 21), metavar="1-20")
    parser.add_argument("--quick", action="store_true", help="short slices: does it work?")
    parser.add_argument("--json", action="store_true", help="to standard output")
    parser.add_argument("--most", type=int, default=1_000_000, help="links to grow to (10000000)")
    parser.add_argument("--write", type=Path, metavar="DIR", help="bench.md, bench.svg, bench.json")
    return parser.parse_args()


def _code(results: Results) -> int:
    if results.thrown_out:
        return 3
    return int(any(figure.verdict == "missed" for figure in results.figures))


if __name__ == "__main__":
    end_as_by_ctrl_c()
    sys.exit(main())
