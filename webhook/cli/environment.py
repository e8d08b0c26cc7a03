"""The command line's settings: the environment, and in a checkout also .env."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import click
from dotenv import dotenv_values

# The file of `./dev up`; bin/recall-links changes to the checkout before this looks for it.
ENV_FILE = Path(".env")
SIGNS_OF_A_CHECKOUT = ("dev", "Procfile")


def with_env_file(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with what .env adds; a dyno uses only its config vars."""
    if environ.get("DYNO") or not ENV_FILE.is_file():
        return environ
    folder = ENV_FILE.absolute().parent
    if not all((folder / name).is_file() for name in SIGNS_OF_A_CHECKOUT):
        return environ
    written = {name: value for name, value in dotenv_values(ENV_FILE).items() if value}
    # Empty counts as unset, as everywhere else.
    added = {name: value for name, value in written.items() if not environ.get(name)}
    if added:
        _announce(ENV_FILE.absolute())
    return {**environ, **added}


@cache
def _announce(path: Path) -> None:
    # Once, and on standard error, because standard output may be piped.
    click.echo(f"recall-links: also reading settings from {path}", err=True)
