"""recall-links: the link database from the command line.

Imports nothing that a command alone needs: `recall-links --help` answers at once.
"""

import os
import select
import sys
from importlib import import_module
from typing import Any

import click

from models.core.version import VERSION
from webhook.cli.exit_codes import INTERRUPTED, READER_GONE
from webhook.cli.lazy_group import Entry, LazyCommands, LazyGroup

NAME = "recall-links"
_STANDARD_OUTPUT = 1
# Add a new command here: the module that has it in its COMMANDS, and its help's first sentence.
ENTRIES = {
    "audit": Entry("lists", "Changes made by people, newest first."),
    "bots": Entry("lists", "Bots, newest first."),
    "calendar": Entry("calendar_users", "Manage a calendar user: connect, inspect, disconnect."),
    "completion": Entry(
        "completion", 'Print shell completion: eval "$(recall-links completion bash)".'
    ),
    "db": Entry("database", "Migrate the database to this release, or compare the two."),
    "deliveries": Entry("lists", "Received webhooks, newest first."),
    "doctor": Entry("status", "Check everything that can be wrong, and say what to do."),
    "erase": Entry(
        "privacy",
        "Erase what is stored about a calendar user, permanently; counts and link rows stay.",
    ),
    "events": Entry("events", "Events, newest first; --follow prints them as they happen."),
    "explain": Entry(
        "bots", "Show everything known about one bot, and why it is or is not linked."
    ),
    "export": Entry(
        "privacy", "Print everything stored about a calendar user, as one JSON object."
    ),
    "failures": Entry(
        "failures", "Failing bots by the reason of their last error, most frequent first."
    ),
    "links": Entry("lists", "Links between bots and calendar meetings, newest first."),
    "missed": Entry("lists", "Meetings that were to be recorded and were not, latest first."),
    "person": Entry(
        "person",
        "Show what is stored about a person by their address: a calendar user, or a guest.",
    ),
    "reconcile": Entry(
        "reconcile", "Compare with Recall's list of bots, and fill in what webhooks missed."
    ),
    "reconciles": Entry(
        "lists", "Comparisons with Recall's list of bots, and what each found, latest first."
    ),
    "recordings": Entry("lists", "Recordings of bots, newest first."),
    "rejections": Entry("lists", "Requests that failed signature verification, newest first."),
    "relink": Entry(
        "bots", "Retry linking: fetch bots and all their meetings again, by id or by filter."
    ),
    "reverify": Entry(
        "status", "Check rejected requests again after you fix the signing secret or the clock."
    ),
    "status": Entry(
        "status", "Show what is waiting and since when, the circuit, workers and active alarms."
    ),
}


class Program(LazyGroup):
    """The whole program: how it ends, if no command says so."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a reader that ends early, such as `head`, ends it quietly."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                # At the interpreter's end, the error would be printed.
                sys.stdout.flush()
        except BrokenPipeError:
            if not _is_reader_gone():
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_OUTPUT)
            raise click.exceptions.Exit(READER_GONE) from None
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None


@click.group(
    NAME,
    cls=Program,
    commands=LazyCommands(ENTRIES),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(VERSION, "-V", "--version", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Query the link database and manage the service.

    Settings come from the environment, like the service's, and in a checkout also from .env. Exit
    codes: 0 success, 1 nothing found or something is wrong, 2 wrong usage or settings, 3 the
    database or Recall does not answer, 70 a fault of this program.
    """
    if context.invoked_subcommand != "completion":
        context.obj = import_module("webhook.cli.context").Session(os.environ)
        context.call_on_close(context.obj.close)


def main() -> None:
    """Run one command and exit with its code; an expected error is one line."""
    try:
        cli.main(prog_name=NAME)
    except Exception as error:  # noqa: BLE001 - the last resort
        words, code = import_module("webhook.cli.errors").describe_error(error)
        import_module("webhook.cli.output").say_error(words)
        sys.exit(code)


def _is_reader_gone() -> bool:
    """Whether it was standard output that broke, and not a connection of ours."""
    poll = select.poll()
    poll.register(_STANDARD_OUTPUT, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


if __name__ == "__main__":
    main()
