"""db: upgrade the tables to this release, or compare them with it."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from models.tables.schema_version import HEAD
from webhook.cli.context import Session
from webhook.cli.exit_codes import AWAY, NOTHING_FOUND
from webhook.cli.output import print_json, say_error, visible

# Beside our packages in a checkout and in an installed wheel alike; pyproject.toml is not.
MIGRATIONS = Path(__file__).parents[3] / "migrations"


@click.group()
def db() -> None:
    """Migrate the database to this release, or compare the two."""


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def upgrade(session: Session, *, as_json: bool) -> None:
    """Run the missing migrations, as the Procfile's release command does."""
    with _alembic(session, creates=True) as config:
        # Each step is logged on standard error, because one may take minutes.
        logging.getLogger("alembic.runtime.migration").setLevel("INFO")
        command.upgrade(config, "head")
    if as_json:
        print_json({"at": HEAD})
    else:
        click.echo(f"at {HEAD}")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(session: Session, *, as_json: bool) -> None:
    """Compare the tables with what this release expects (exit 1 if they differ)."""
    differs = None
    with _alembic(session) as config, warnings.catch_warnings():
        # Alembic warns about indexes that it cannot compare; a test compares those.
        warnings.simplefilter("ignore")
        try:
            command.check(config)
        except CommandError as error:
            differs = str(error)
    if as_json:
        print_json({"at": HEAD, "differs": differs})
    else:
        click.echo(f"differs: {visible(differs)}" if differs else f"matches {HEAD}")
    if differs:
        raise click.exceptions.Exit(NOTHING_FOUND)


@contextmanager
def _alembic(session: Session, *, creates: bool = False) -> Iterator[Config]:
    config = Config(stdout=io.StringIO())
    # A % in the path would be taken for an interpolation.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    session.log_errors()
    with session.writes(creates=creates).connect() as connection:
        config.attributes["connection"] = connection
        try:
            yield config
        except CommandError as error:
            say_error(str(error))
            raise click.exceptions.Exit(AWAY) from None


COMMANDS = (db,)
