"""failures: failing bots by reason, each with its remedy."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import click

from models.queries.failures.failures import FailureRow
from models.queries.failures.relink_batches import FailedAgain, RelinkBatchResult, batch_result
from models.queries.registry import FAILURES
from webhook.cli.commands.lists import SHOWN, as_filter, list_command
from webhook.cli.context import Session
from webhook.cli.exit_codes import NOTHING_FOUND
from webhook.cli.output import fields_of, is_terminal, print_facts, print_json, print_rows, say


def _run(
    session: Session,
    form: str,
    limit: int,
    columns: list[str] | None,
    batch: int | None,
    **given: Any,
) -> None:
    if batch is not None:
        _show_batch(session, batch, form)
        return
    listing = FAILURES.listing(as_filter(FAILURES.wanted, given), session.reader().dialect)
    rows = list(islice(session.reader().stream(listing), limit or None))
    if not print_rows(rows, FailureRow, SHOWN[FAILURES.name], form, columns):
        raise click.exceptions.Exit(NOTHING_FOUND)
    # A sentence has no room in a table; in a pipe, JSON and CSV have it.
    if form == "table" and columns is None and is_terminal():
        _say_remedies(rows)


def _show_batch(session: Session, batch: int, form: str) -> None:
    found = session.read(lambda connection: batch_result(connection, batch))
    if found is None:
        click.echo("there is no batch of this number", err=True)
        raise click.exceptions.Exit(NOTHING_FOUND)
    if form == "json":
        print_json(found)
    elif form == "csv":
        print_rows(found.reasons, FailedAgain, fields_of(FailedAgain), form)
    else:
        print_facts(_facts(found))
        _say_remedies(found.reasons)


def _facts(found: RelinkBatchResult) -> Iterator[tuple[str, object]]:
    yield "batch", found.batch
    yield "retried", found.retried_at
    yield "by", found.actor
    yield "bots", found.bots
    yield "came through", found.came_through
    yield "waiting", found.waiting
    yield "failed again", found.failed_again
    for one in found.reasons:
        yield f"failed again, {one.reason}", f"{one.count}, such as {one.example_bot_id}"


def _say_remedies(rows: Sequence[FailureRow | FailedAgain]) -> None:
    for row in rows:
        say((f"{row.reason}: ", "bold"), (row.remedy, ""))


BATCH = click.Option(
    ["--batch"],
    type=click.IntRange(min=0, max=2**63 - 1),
    help="Instead, what came of the bulk retry of this number.",
)
failures = click.command(FAILURES.name, help=f"{FAILURES.summary}.")(click.pass_obj(_run))
failures.params = [*list_command(FAILURES).params, BATCH]
COMMANDS = (failures,)
