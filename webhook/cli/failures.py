"""failures: failing bots by reason, each with its remedy."""

from itertools import islice
from typing import Any

import click

from models.queries.failures import FailureRow
from models.queries.registry import FAILURES
from webhook.cli.context import Session
from webhook.cli.exit_codes import NOTHING_FOUND
from webhook.cli.lists import SHOWN, as_filter, list_command
from webhook.cli.output import is_terminal, print_rows, say


def _run(session: Session, form: str, limit: int, columns: list[str] | None, **given: Any) -> None:
    listing = FAILURES.listing(as_filter(FAILURES.wanted, given), session.reader().dialect)
    rows = list(islice(session.reader().stream(listing), limit or None))
    if not print_rows(rows, FailureRow, SHOWN[FAILURES.name], form, columns):
        raise click.exceptions.Exit(NOTHING_FOUND)
    # A sentence has no room in a table; in a pipe, JSON and CSV have it.
    if form == "table" and columns is None and is_terminal():
        for row in rows:
            say((f"{row.reason}: ", "bold"), (row.remedy, ""))


failures = click.command(FAILURES.name, help=f"{FAILURES.summary}.")(click.pass_obj(_run))
failures.params = list_command(FAILURES).params
COMMANDS = (failures,)
