"""reconcile: find what webhooks missed with List Bots."""

from contextlib import suppress
from datetime import datetime

import click
from pydantic import BaseModel

from models.core.humanize import plural
from models.queries.filters import Time
from webhook.cli.context import Session
from webhook.cli.exit_codes import AWAY, NOTHING_FOUND
from webhook.cli.output import print_json
from webhook.cli.progress import progress
from webhook.cli.recall import bot_list_client
from webhook.cli.services import wakeup_of
from webhook.web.validation import BadParameterError, checked
from workers.recall_api.retry_policy import BACKOFF_CAP
from workers.reconcile.reconciler import Reconciler
from workers.reconcile.runs import RunProgress, RunUnderWayError, unfinished

# A page has a hundred complete bots, and Recall is slow to list them.
CALL_SECONDS = 60.0


class _Since(BaseModel):
    since: Time


@click.command("reconcile")
@click.option("--since", help="Bots that joined at or after this time, such as -2d.")
@click.option("--all", "every", is_flag=True, help="Every bot, including ad hoc ones.")
@click.option("--restart", is_flag=True, help="Start over instead of resuming.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def reconcile(
    session: Session, since: str | None, *, every: bool, restart: bool, as_json: bool
) -> None:
    """Compare with Recall's list of bots, and fill in what webhooks missed.

    An interrupted run resumes where it stopped: use the same command, or leave out --since. Exit
    codes: 0 nothing was missed, 1 something was missed (and has been filled in), or the list is too
    short to be believed, 3 Recall or the database does not answer.
    """
    wanted = _wanted(session, since, every=every)
    client = bot_list_client(session, patience=BACKOFF_CAP, seconds=CALL_SECONDS)
    wake = wakeup_of(session).send
    reconciler = Reconciler(session.writes(), client, session.actor(), wake=wake)
    try:
        done = _run(reconciler, reconciler.open(wanted, afresh=restart))
    except RunUnderWayError:
        click.echo("another process is running this; --restart starts a new run", err=True)
        raise click.exceptions.Exit(NOTHING_FOUND) from None
    _report(done, as_json=as_json)


def _wanted(session: Session, since: str | None, *, every: bool) -> datetime | None:
    # A wrong window would list everything or nothing, and both look like a result.
    if every and since is not None:
        raise click.UsageError("give --since or --all, not both")
    if every:
        return None
    if since is None:
        try:
            return session.read(unfinished)
        except LookupError:
            raise click.UsageError("give --since TIME or --all: no run to resume") from None
    try:
        return checked(_Since, {"since": since}).since
    except BadParameterError as error:
        raise click.BadParameter(error.detail, param_hint="--since") from None


def _run(reconciler: Reconciler, begun: RunProgress) -> RunProgress:
    if begun.is_resumed:
        click.echo(f"resuming run {begun.run_id} after {plural(begun.pages, 'page')}", err=True)
    latest = begun
    with progress() as bar:
        task = bar.add_task("bots compared", total=None)

        def show(now: RunProgress) -> None:
            nonlocal latest
            latest = now
            bar.update(task, completed=now.position.seen, total=now.position.count)

        try:
            return reconciler.run(begun, show)
        except KeyboardInterrupt:
            # Recorded at once; otherwise the next command would wait two minutes for this run.
            with suppress(RunUnderWayError):
                reconciler.interrupt(latest, "interrupted")
            raise


def _report(done: RunProgress, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "run": done.run_id,
                "since": done.since,
                "finished": done.is_over,
                "complete": done.is_complete,
                "pages": done.pages,
                "bots_seen": done.bots_seen,
                "bots_missed": done.bots_missed,
                "statuses_missed": done.statuses_missed,
                "bots_due": done.bots_due,
                "unusable": done.unusable,
                "error": done.error,
            }
        )
    else:
        click.echo(_words(done))
    if done.error is not None and done.is_over:
        click.echo(f"not believed: {done.error}; no alarm clears because of it", err=True)
        raise click.exceptions.Exit(NOTHING_FOUND)
    if done.error is not None:
        click.echo(f"interrupted: {done.error}; the same command resumes from here", err=True)
        raise click.exceptions.Exit(AWAY)
    if done.bots_missed or done.statuses_missed or not done.is_complete:
        raise click.exceptions.Exit(NOTHING_FOUND)


def _words(done: RunProgress) -> str:
    words = (
        f"{plural(done.bots_seen, 'bot')} compared; unknown: {done.bots_missed},"
        f" missing statuses: {done.statuses_missed}, queued for linking: {done.bots_due}"
    )
    if done.is_over and not done.is_complete and done.error is None:
        words += "; the list kept changing, so some may have been skipped: run it again"
    return words


COMMANDS = (reconcile,)
