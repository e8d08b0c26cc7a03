"""explain and relink: one bot whole, and putting bots back."""

from typing import Any

import click
from rich.markup import escape

from models.explain import explain, heard_of
from models.filters import BotFilter
from models.outside import plain_uuid
from models.rows import AttemptRow, BotRow, Explained
from webhook.asked import BadParameterError, checked
from webhook.commands.lists import filter_options
from webhook.commands.output import (
    NOTHING_FOUND,
    console,
    is_terminal,
    print_json,
    print_rows,
    progress,
    visible,
)
from webhook.commands.session import Session
from webhook.putback import PutBackRequest

PREVIEWED = ("bot_id", "bot_status", "link_state", "attempts", "last_error")


class BotId(click.ParamType[str]):
    """A bot's id."""

    name = "bot"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id in lower case; a usage error for anything else."""
        found = plain_uuid(str(value))
        return found or self.fail("must be a UUID of 36 characters", param, ctx)


@click.command("explain")
@click.argument("bot", type=BotId())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def explain_bot(session: Session, bot: str, *, as_json: bool) -> None:
    """Show all that is known of one bot, and why it is or is not linked."""
    found = session.read(lambda connection: explain(connection, bot))
    if found is None:
        is_new = session.read(lambda connection: heard_of(connection, bot))
        click.echo("not applied yet" if is_new else "no webhook has told of this bot", err=True)
        raise click.exceptions.Exit(NOTHING_FOUND)
    if as_json:
        print_json(found)
    else:
        _print_explained(found)


def _print_explained(found: Explained) -> None:
    out = console()
    bot = found.bot
    out.print(f"[bold]{bot.bot_id}[/] {escape(bot.bot_status)}, {bot.link_state}")
    out.print(escape(found.why))
    for moment, words in _timeline(found):
        out.print(f"  {visible(moment)}  {escape(visible(words))}")
    for link in found.links:
        ended = f", ended {visible(link.ended_at)} ({link.end_reason})" if link.ended_at else ""
        title = visible(link.meeting_title) or "(no title)"
        line = f"  → {visible(link.external_id)}: {title}, {link.meeting_state}{ended}"
        out.print(escape(line), style="green")


def _timeline(found: Explained) -> list[tuple[Any, str]]:
    lines: list[tuple[Any, str]] = [
        (status.occurred_at, _joined("status", status.code, status.sub_code, status.message))
        for status in found.statuses
    ]
    for delivery in found.deliveries:
        copies = f"{delivery.copies} times" if delivery.copies > 1 else None
        words = _joined("delivery", delivery.event, delivery.outcome, delivery.reason, copies)
        lines.append((delivery.received_at, words))
    for attempt in found.attempts:
        lines.append((attempt.started_at, _joined("attempt", attempt.outcome, attempt.error)))
        lines += [(attempt.started_at, line) for line in _calls(attempt)]
    return sorted(lines, key=lambda line: line[0])


def _calls(attempt: AttemptRow) -> list[str]:
    return [
        f"  {call.method} {call.path}{f' {call.about}' if call.about else ''}"
        f" → {call.status or call.error}, {call.ms} ms"
        for call in attempt.calls
    ]


def _joined(*words: str | None) -> str:
    return " · ".join(word for word in words if word)


def _relink(
    session: Session, bots: tuple[str, ...], *, yes: bool, preview: bool, **given: Any
) -> None:
    wanted = _asked(bots, given)
    back = session.put_back()
    found = back.preview(wanted)
    if preview or not yes:
        print_rows(found.sample, BotRow, PREVIEWED, "table")
        more = " or more" if found.is_more else ""
        click.echo(f"{found.count}{more} bots would be looked up again", err=True)
    if not found.count:
        raise click.exceptions.Exit(NOTHING_FOUND)
    if preview or (not yes and is_terminal() and not click.confirm("Put them back?", err=True)):
        return
    if not yes and not is_terminal():
        raise click.UsageError("say --yes to change something without being asked")
    with progress() as bar:
        task = bar.add_task("put back", total=found.count)
        done = back.many(wanted, session.actor(), lambda count: bar.update(task, completed=count))
    click.echo(f"{done.relinked} bots put back, due over {done.over_seconds:g} s")


def _asked(bots: tuple[str, ...], given: dict[str, Any]) -> PutBackRequest:
    values = {name: value for name, value in given.items() if value is not None}
    if bots:
        values["bot_ids"] = list(bots)
    if not values:
        raise click.UsageError("name bots, or a filter: not every bot at once")
    try:
        return checked(PutBackRequest, values)
    except BadParameterError as error:
        raise click.UsageError(str(error)) from None


relink = click.command(
    "relink", help="Look bots up again, whole: by id, or all that a filter holds."
)(click.pass_obj(_relink))
relink.params += [
    click.Argument(["bots"], nargs=-1, type=BotId()),
    *filter_options(BotFilter),
    click.Option(["--preview"], is_flag=True, help="Only show which they are."),
    click.Option(["--yes"], is_flag=True, help="Do not ask."),
]
COMMANDS = (explain_bot, relink)
