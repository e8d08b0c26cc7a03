"""recall-links: the link database from the command line.

Exit codes: 0 fine, 1 nothing found or something is wrong, 2 wrong usage or settings, 3 the
database or Recall is away.
"""

import os
import sys

import click
from click.shell_completion import get_completion_class
from sqlalchemy.exc import SQLAlchemyError

from models.logs import set_up_logging
from models.settings import Settings, SettingsError
from webhook.commands import bots, calendar, calendar_users, care, lists, privacy
from webhook.commands import reconcile as reconciling
from webhook.commands.output import AWAY, USAGE
from webhook.commands.session import Session
from webhook.inbox import DatabaseAwayError
from workers.errors import RecallError

NAME = "recall-links"
SHELLS = ("bash", "zsh", "fish")


@click.group(NAME, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(context: click.Context) -> None:
    """Ask the link database, and act on the answer.

    Settings come from the environment, as the service's do. Exit codes: 0 fine, 1 nothing found
    or something is wrong, 2 wrong usage or settings, 3 the database or Recall is away.
    """
    settings = Settings.read(os.environ)
    set_up_logging(settings.model_copy(update={"log_level": "ERROR"}))
    context.obj = Session(settings)
    context.call_on_close(context.obj.close)


@cli.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete these commands: eval "$(recall-links completion bash)"."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(cli, {}, NAME, "_RECALL_LINKS_COMPLETE").source())


for kind in (lists, bots, care, calendar, calendar_users, privacy, reconciling):
    for one in kind.COMMANDS:
        cli.add_command(one)


def main() -> None:
    """Run one command, and end with its exit code; errors are one line, never a traceback."""
    try:
        cli.main(prog_name=NAME)
    except SettingsError as error:
        _end(str(error), USAGE)
    except RecallError as error:
        _end(f"Recall: {error}", AWAY)
    except (SQLAlchemyError, DatabaseAwayError) as error:
        _end(f"the database does not answer ({type(error).__name__})", AWAY)


def _end(words: str, code: int) -> None:
    click.echo(f"{NAME}: {words}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
