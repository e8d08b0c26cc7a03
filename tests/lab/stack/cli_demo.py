"""The commands that run the whole stack."""

import sys
from pathlib import Path

import click
from rich.console import Console

from tests.lab.stack.demo import FOLDER, run_demo
from tests.lab.stack.stack import ROOT
from tests.lab.stack.up import run_up

PIPED_WIDTH = 100


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


@click.command()
@click.option("--once", is_flag=True, help="End after the table; 1 when a link is missing.")
@click.option("--seed", default=7, help="Another number is another scenario.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER,
    help="Where its database and logs lie, emptied first: one for each demo that runs.",
)
def demo(*, once: bool, seed: int, folder: Path) -> None:
    """Run everything on this machine, play a scenario to it, and print the links it made."""
    try:
        sys.exit(run_demo(once=once, seed=seed, folder=folder, console=_console()))
    except FileExistsError as error:
        raise click.BadParameter(str(error), param_hint="--folder") from None


@click.command()
@click.option("--env-file", type=click.Path(path_type=Path), default=ROOT / ".env")
def up(*, env_file: Path) -> None:
    """Run everything on this machine against the real Recall, by the settings of .env."""
    sys.exit(run_up(env_file, _console()))
