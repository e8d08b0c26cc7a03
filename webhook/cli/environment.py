"""Where the command line's settings come from: the environment, and in a checkout its .env."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import click
from dotenv import dotenv_values

# What `./dev up` reads; bin/recall-links stands in the checkout when it asks.
ENV_FILE = Path(".env")
SIGNS_OF_A_CHECKOUT = ("dev", "Procfile")


def with_env_file(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment, and what .env adds to it; a dyno has its config vars alone."""
    if environ.get("DYNO") or not ENV_FILE.is_file():
        return environ
    folder = ENV_FILE.absolute().parent
    if not all((folder / name).is_file() for name in SIGNS_OF_A_CHECKOUT):
        return environ
    written = {name: value for name, value in dotenv_values(ENV_FILE).items() if value}
    # Empty counts as unset, as everywhere.
    added = {name: value for name, value in written.items() if not environ.get(name)}
    if added:
        _tell(ENV_FILE.absolute())
    return {**environ, **added}


@cache
def _tell(path: Path) -> None:
    # Once, and on standard error: what a command prints may be piped.
    click.echo(f"recall-links: also reading settings from {path}", err=True)
