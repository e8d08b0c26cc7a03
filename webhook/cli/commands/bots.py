"""explain and relink: show one bot, retry bots."""

from typing import Any

import click

from models.core.humanize import plural
from models.core.sanitize import plain_uuid
from models.queries.bot_detail import explain, has_delivery
from models.queries.filters import BotFilter
from models.queries.rows import CallRow, Explained
from models.queries.search import look_up
from models.queries.timeline import Moment, timeline
from webhook.cli.commands.lists import filter_options, wrong_option
from webhook.cli.confirmation import confirm
from webhook.cli.context import Session
from webhook.cli.exit_codes import NOTHING_FOUND
from webhook.cli.output import print_json, print_sample, say, visible
from webhook.cli.progress import progress
from webhook.cli.services import relink_service
from webhook.services.relink import Preview, RelinkRequest
from webhook.web.validation import BadParameterError, checked

PREVIEWED = ("bot_id", "bot_status", "link_state", "attempts", "last_error")


class BotId(click.ParamType[str]):
    """A bot id, as a parameter type."""

    name = "bot"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id in lower case; a usage error for anything else."""
        found = plain_uuid(str(value))
        return found or self.fail("must be a UUID of 36 characters", param, ctx)


@click.command("explain")
@click.argument("bot")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def explain_bot(session: Session, bot: str, *, as_json: bool) -> None:
    """Show everything known about one bot, and why it is or is not linked.

    BOT is its id, its first 8 characters or more, or the message id of one of its webhooks.
    """
    bot = _meant(session, bot.strip())
    found = session.read(lambda connection: explain(connection, bot))
    if found is None:
        is_new = session.read(lambda connection: has_delivery(connection, bot))
        click.echo(
            "a webhook for this bot is not processed yet"
            if is_new
            else "no webhook received for this bot",
            err=True,
        )
        raise click.exceptions.Exit(NOTHING_FOUND)
    if as_json:
        print_json(found)
    else:
        _print_explained(found)


def _meant(session: Session, text: str) -> str:
    if (bot := plain_uuid(text)) is not None:
        return bot
    found = session.read(lambda connection: look_up(connection, text))
    if len(found.bot_ids) == 1:
        return found.bot_ids[0]
    if found.bot_ids:
        raise click.UsageError(f"more than one bot starts with this: {', '.join(found.bot_ids)}")
    words = "nothing has this id: give a bot id, its first 8 characters or more, or a message id"
    if found.message_in:
        words = f"this message names no bot: recall-links {found.message_in} --message-id {text}"
    click.echo(visible(words), err=True)
    raise click.exceptions.Exit(NOTHING_FOUND)


def _print_explained(found: Explained) -> None:
    bot = found.bot
    say((bot.bot_id, "bold"), (f" {bot.bot_status}, {bot.link_state}", ""))
    say((found.why, ""))
    for key, value in (bot.bot_metadata or {}).items():
        say((f"  {key} = {value}", "dim"))
    for moment in timeline(found):
        say((f"  {visible(moment.at)}  ", "dim"), (_described(moment), ""))
        for call in moment.calls:
            say((f"{'':26}{_call(call)}", "dim"))
    for link in found.links:
        ended = f", ended {visible(link.ended_at)} ({link.end_reason})" if link.ended_at else ""
        title = link.meeting_title or "(no title)"
        say((f"  → {link.external_id}: {title}, {link.meeting_state}{ended}", "green"))
    for one in found.recordings:
        expires = f", expires {visible(one.expires_at)}" if one.expires_at else ""
        spoken = f", transcript {one.transcript_status}" if one.transcript_status else ""
        say((f"  ● recording {one.recording_id}: {one.recording_status}{spoken}{expires}", "cyan"))
    for link in found.same_meeting:
        say((f"  = in the same meeting: bot {link.bot_id}, for {link.external_id}", "yellow"))


def _described(moment: Moment) -> str:
    took = None if moment.ms is None else f"{moment.ms} ms"
    words = (moment.kind, moment.what, moment.outcome, took, *moment.notes)
    return " · ".join(word for word in words if word)


def _call(call: CallRow) -> str:
    about = f" {call.about}" if call.about else ""
    return f"{call.method} {call.path}{about} → {call.status or call.error}, {call.ms} ms"


def _relink(
    session: Session,
    bots: tuple[str, ...],
    *,
    yes: bool,
    preview: bool,
    as_json: bool,
    **given: Any,
) -> None:
    wanted = _asked(bots, given)
    service = relink_service(session)
    found = service.preview(wanted)
    if preview or not yes:
        _show(found, as_json=as_json and preview)
    if not found.count:
        raise click.exceptions.Exit(NOTHING_FOUND)
    if preview:
        return
    confirm("Retry them?", yes=yes)
    with progress() as bar:
        task = bar.add_task("queued for retry", total=found.count)
        done = service.many(
            wanted, session.actor(), lambda count: bar.update(task, completed=count)
        )
    if as_json:
        print_json(done)
    else:
        batch = f": recall-links failures --batch {done.batch}" if done.batch else ""
        words = plural(done.relinked, "bot")
        click.echo(f"{words} queued for retry over {done.over_seconds:g} s{batch}")


def _show(found: Preview, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    # The preview goes to standard error; standard output is only for the result.
    print_sample(found.sample, PREVIEWED, found.count)
    more = " or more" if found.is_more else ""
    click.echo(f"{plural(found.count, 'bot')}{more} would be retried", err=True)


def _asked(bots: tuple[str, ...], given: dict[str, Any]) -> RelinkRequest:
    values = {name: value for name, value in given.items() if value not in (None, (), False)}
    if bots:
        values["bot_ids"] = list(bots)
    if not values:
        raise click.UsageError("give bot ids or a filter: not every bot at once")
    try:
        return checked(RelinkRequest, values)
    except BadParameterError as error:
        if error.parameter == "bot_ids":
            raise click.BadParameter(error.detail, param_hint="BOTS") from None
        raise wrong_option(error) from None


relink = click.command(
    "relink",
    help="Retry linking: fetch bots and all their meetings again, by id or by filter.",
)(click.pass_obj(_relink))
relink.params += [
    click.Argument(["bots"], nargs=-1, type=BotId()),
    *filter_options(BotFilter),
    click.Option(["--preview"], is_flag=True, help="Only show which bots would be retried."),
    click.Option(["--yes"], is_flag=True, help="Do not ask for confirmation."),
    click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."),
]
COMMANDS = (explain_bot, relink)
