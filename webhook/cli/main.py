"""recall-links: the link database from the command line.

Exit codes: 0 success, 1 nothing found or something is wrong, 2 wrong usage or settings, 3 the
database or Recall does not answer.
"""

import os
import secrets
import sys

import click
import structlog
from alembic.util import CommandError
from click.shell_completion import get_completion_class
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import is_too_slow, is_unavailable, reason
from models.core.database_remedies import TOO_SLOW, describe
from models.core.version import VERSION
from models.settings.environment import SettingsError
from webhook.cli import (
    bots,
    calendar_connect,
    calendar_users,
    database,
    events,
    lists,
    privacy,
    status,
)
from webhook.cli import reconcile as reconciling
from webhook.cli.context import Session
from webhook.cli.output import AWAY, NOTHING_FOUND, USAGE, visible
from webhook.receiver.storage import NotStoredError
from webhook.web.params import BadParameterError
from workers.recall_api.errors import RecallError

NAME = "recall-links"
SHELLS = ("bash", "zsh", "fish")
# Add a new module of commands here.
MODULES = (
    lists,
    events,
    bots,
    status,
    database,
    calendar_connect,
    calendar_users,
    privacy,
    reconciling,
)
logger = structlog.stdlib.get_logger(__name__)


@click.group(NAME, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, "-V", "--version", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Query the link database and manage the service.

    Settings come from the environment, like the service's, and in a checkout also from .env. Exit
    codes: 0 success, 1 nothing found or something is wrong, 2 wrong usage or settings, 3 the
    database or Recall does not answer.
    """
    context.obj = Session(os.environ)
    context.call_on_close(context.obj.close)


@cli.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print shell completion: eval "$(recall-links completion bash)"."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(cli, {}, NAME, "_RECALL_LINKS_COMPLETE").source())


for module in MODULES:
    for one in module.COMMANDS:
        cli.add_command(one)


def main() -> None:
    """Run one command and exit with its code; an expected error is one line."""
    try:
        cli.main(prog_name=NAME)
    except (SettingsError, BadParameterError) as error:
        _end(str(error), USAGE)
    except CommandError as error:
        _end(str(error), NOTHING_FOUND)
    except RecallError as error:
        _end(f"Recall: {error}", AWAY)
    except NotStoredError:
        _end("the database does not answer", AWAY)
    except Exception as error:  # noqa: BLE001 - the last resort
        _end(*_unexpected(error))


def _unexpected(error: Exception) -> tuple[str, int]:
    if is_too_slow(error):
        return TOO_SLOW, NOTHING_FOUND
    if words := describe(error):
        return words, AWAY if is_unavailable(error) else NOTHING_FOUND
    if isinstance(error, SQLAlchemyError) and (words := Session(os.environ).gap()):
        return words, AWAY
    bug = secrets.token_hex(8)
    logger.exception("a command failed", id=bug, reason=reason(error))  # noqa: LOG004 - called in an except block
    words = f"internal error ({type(error).__name__}): see the lines above with the id {bug}"
    return words, NOTHING_FOUND


def _end(words: str, code: int) -> None:
    click.echo(f"{NAME}: {visible(words)}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
