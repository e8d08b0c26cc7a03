"""events resend, endpoints, on, off: what people do with events and their endpoints."""

from typing import Any

import click

from models.core.humanize import plural
from models.queries.events.endpoints import EndpointRow
from models.queries.events.event_list import EventFilter
from webhook.cli.commands.lists import filter_options, wrong_option
from webhook.cli.confirmation import confirm, yes_option
from webhook.cli.context import Session
from webhook.cli.exit_codes import NOTHING_FOUND
from webhook.cli.output import print_json, print_rows, print_sample
from webhook.cli.progress import progress
from webhook.cli.services import event_actions
from webhook.services.events import ResendPreview, ResendRequest
from webhook.web.validation import BadParameterError, checked

PREVIEWED = ("position", "created_at", "type", "bot_id", "state")
ENDPOINTS = ("endpoint", "state", "since", "reason", "waiting", "last_delivered_at")
NO_ENDPOINT = "no such endpoint: `recall-links events endpoints` lists them"
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _resend(
    session: Session,
    ids: tuple[str, ...],
    *,
    yes: bool,
    preview: bool,
    as_json: bool,
    **given: Any,
) -> None:
    wanted, actions = _wanted(ids, given), event_actions(session)
    found = actions.preview(wanted)
    if preview or not yes:
        _show(found, as_json=as_json and preview)
    if not found.count:
        raise click.exceptions.Exit(NOTHING_FOUND)
    if preview:
        return
    confirm("Send them again?", yes=yes)
    with progress() as bar:
        task = bar.add_task("queued", total=found.count)
        done = actions.many(wanted, session.actor(), lambda n: bar.update(task, completed=n))
    if as_json:
        print_json(done)
    else:
        click.echo(f"{plural(done.resent, 'event')} queued to be sent again")


def _show(found: ResendPreview, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_sample(found.sample, PREVIEWED, found.count)
    more = " or more" if found.is_more else ""
    click.echo(f"{plural(found.count, 'event')}{more} would be sent again", err=True)


def _wanted(ids: tuple[str, ...], given: dict[str, Any]) -> ResendRequest:
    values = {name: value for name, value in given.items() if value is not None}
    if ids:
        values["event_ids"] = list(ids)
    if not values:
        raise click.UsageError("give event ids or a filter: not every event at once")
    try:
        return checked(ResendRequest, values)
    except BadParameterError as error:
        if error.parameter == "event_ids":
            raise click.BadParameter(error.detail, param_hint="EVENT_IDS") from None
        raise wrong_option(error) from None


resend = click.command(
    "resend", help="Send events to the endpoints again, by id or by filter. It asks first."
)(click.pass_obj(_resend))
resend.params += [
    click.Argument(["ids"], nargs=-1, metavar="[EVENT_ID]..."),
    *filter_options(EventFilter),
    click.Option(["--preview"], is_flag=True, help="Only show which events would be sent."),
    click.Option(["--yes"], is_flag=True, help="Do not ask for confirmation."),
    click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."),
]


@click.command("endpoints")
@_JSON
@click.pass_obj
def endpoints(session: Session, *, as_json: bool) -> None:
    """List the endpoints of EVENTS_URL: whether each gets its events, and how many wait."""
    rows = event_actions(session).endpoints()
    form = "json" if as_json else "table"
    if not print_rows(iter(rows), EndpointRow, ENDPOINTS, form):
        raise click.exceptions.Exit(NOTHING_FOUND)


@click.command("on")
@click.argument("endpoint")
@_JSON
@click.pass_obj
def turn_on(session: Session, endpoint: str, *, as_json: bool) -> None:
    """Send events to an endpoint again; what was kept meanwhile comes first."""
    _turn(session, endpoint, on=True, as_json=as_json)


@click.command("off")
@click.argument("endpoint")
@yes_option
@_JSON
@click.pass_obj
def turn_off(session: Session, endpoint: str, *, yes: bool, as_json: bool) -> None:
    """Send an endpoint nothing until it is turned on; its events are kept."""
    if all(one.endpoint != endpoint for one in event_actions(session).endpoints()):
        raise click.UsageError(NO_ENDPOINT)
    confirm("Turn it off?", yes=yes)
    _turn(session, endpoint, on=False, as_json=as_json)


def _turn(session: Session, endpoint: str, *, on: bool, as_json: bool) -> None:
    if not event_actions(session).turn(endpoint, session.actor(), on=on):
        raise click.UsageError(NO_ENDPOINT)
    state = "on" if on else "off"
    if as_json:
        print_json({"endpoint": endpoint, "state": state})
    else:
        click.echo(f"{endpoint} is {state}")


COMMANDS = (resend, endpoints, turn_on, turn_off)
