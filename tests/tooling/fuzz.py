"""`./dev fuzz`: the tests that draw their examples draw new ones, for as long as it is told.

What it finds is printed with the example: write that down beside the test, as @example or as a
test of its own, so that `./dev test` has it from then on.
"""

import random
import subprocess
import sys
import tempfile
import time

import click

from tests.lab.stack.signals import end_as_by_ctrl_c
from tests.lab.stack.stack import ROOT

# How long a test takes tells of the machine's other work: a time-out in mid-draw looks like a find.
LONGEST_TEST_SECONDS = 1800
PATIENT = ("--timeout", str(LONGEST_TEST_SECONDS))
TESTS = ("-m", "pytest", "-q", "-m", "hypothesis", "--hypothesis-profile", "fuzz", *PATIENT)


@click.command()
@click.option("--minutes", default=5.0, show_default=True, help="How long to begin rounds.")
@click.option("--seed", type=int, help="Draw one round again, by the seed that it printed.")
def main(minutes: float, seed: int | None) -> None:
    """Draw new examples, and play the demo with another seed, until the time is over."""
    until = time.monotonic() + minutes * 60
    found: list[int] = []
    while True:
        chosen = random.SystemRandom().randrange(2**32) if seed is None else seed
        click.echo(f"seed {chosen}")
        if not a_round(chosen):
            found.append(chosen)
        if seed is not None or time.monotonic() > until:
            break
    for one in found:
        click.echo(f"found something: ./dev fuzz --seed {one} draws it again")
    sys.exit(1 if found else 0)


def a_round(seed: int) -> bool:
    """Draw one round of examples, and one demo; whether all was well."""
    with tempfile.TemporaryDirectory(prefix="recall-links-") as folder:
        demo = ("-m", "tests.lab", "demo", "--once", "--seed", str(seed), "--folder", folder)
        return all([_run(*TESTS, "--hypothesis-seed", str(seed)), _run(*demo)])


def _run(*words: str) -> bool:
    return subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    end_as_by_ctrl_c()
    main()
