"""recall-links: the link database from the command line.

Exit codes: 0 fine, 1 nothing found or something is wrong, 2 wrong usage or settings, 3 the
database or Recall is away.
"""

import os
import sys

import click
from alembic.util import CommandError
from click.shell_completion import get_completion_class
from sqlalchemy.exc import SQLAlchemyError

from models.settings import SettingsError
from webhook.asked import BadParameterError
from webhook.commands import bots, calendar, calendar_users, care, database, lists, privacy
from webhook.commands import reconcile as reconciling
from webhook.commands.output import AWAY, NOTHING_FOUND, USAGE, visible
from webhook.commands.session import Session
from webhook.inbox import DatabaseAwayError
from workers.errors import RecallError

NAME = "recall-links"
SHELLS = ("bash", "zsh", "fish")
# A further module of commands is added here, and nowhere else.
MODULES = (lists, bots, care, database, calendar, calendar_users, privacy, reconciling)
# What PostgreSQL and SQLite say of a table or a column that a migration has yet to make.
NOT_MIGRATED = ("UndefinedTable", "UndefinedColumn", "no such table", "no such column")


@click.group(NAME, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(context: click.Context) -> None:
    """Ask the link database, and act on the answer.

    Settings come from the environment, as the service's do. Exit codes: 0 fine, 1 nothing found
    or something is wrong, 2 wrong usage or settings, 3 the database or Recall is away.
    """
    context.obj = Session(os.environ)
    context.call_on_close(context.obj.close)


@cli.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete these commands: eval "$(recall-links completion bash)"."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(cli, {}, NAME, "_RECALL_LINKS_COMPLETE").source())


for module in MODULES:
    for one in module.COMMANDS:
        cli.add_command(one)


def main() -> None:
    """Run one command, and end with its exit code; errors are one line, never a traceback."""
    try:
        cli.main(prog_name=NAME)
    except (SettingsError, BadParameterError) as error:
        _end(str(error), USAGE)
    except CommandError as error:
        _end(str(error), NOTHING_FOUND)
    except RecallError as error:
        _end(f"Recall: {error}", AWAY)
    except (SQLAlchemyError, DatabaseAwayError) as error:
        _end(_of_the_database(error), AWAY)


def _of_the_database(error: Exception) -> str:
    cause = getattr(error, "orig", None)
    if any(sign in f"{type(cause).__name__} {cause}" for sign in NOT_MIGRATED):
        return f"the database is not at this release: run `{NAME} db upgrade`"
    return f"the database does not answer ({type(error).__name__})"


def _end(words: str, code: int) -> None:
    click.echo(f"{NAME}: {visible(words)}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
