"""calendar connect-url and token. Another module adds commands to the same group."""

from typing import Any, NoReturn

import click

from models.settings.calendar import PLATFORMS, Platform
from models.settings.environment import Settings, SettingsError
from webhook.calendar.connect import BadTargetError, Connecting, conflict_message
from webhook.calendar.connect_links import LINK_SECONDS, ConnectLinks
from webhook.cli.context import Session
from webhook.cli.exit_codes import NOTHING_FOUND
from webhook.cli.output import print_json
from webhook.cli.recall import recall_gateway
from workers.calendar_tokens.session import is_known
from workers.db.audit import audit
from workers.privacy.tombstones import UserErasedError
from workers.recall_api.schemas import EXTERNAL_ID_LIMIT, is_usable_external_id


@click.group()
def calendar() -> None:
    """Manage a calendar user: connect, inspect, disconnect. EXTERNAL_ID is your own id for them."""


def _external_id(_context: click.Context, _param: click.Parameter, value: str) -> str:
    # An altered id would create another user at Recall.
    if not is_usable_external_id(value) or value != value.strip():
        raise click.BadParameter(f"must be 1 to {EXTERNAL_ID_LIMIT} plain characters")
    return value


external_id = click.argument("external_id", callback=_external_id)


@calendar.command("connect-url")
@external_id
@click.argument("platform", type=click.Choice(PLATFORMS))
@click.option("--return-to", help="Where the browser goes next, under CALENDAR_RETURN_URLS.")
@click.option("--replace", is_flag=True, help="Replace a connected calendar and clear its data.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def connect_url(session: Session, /, external_id: str, platform: Platform, **asked: Any) -> None:
    """Print a link for the user to connect a calendar; it works once, within five minutes."""
    settings = _connectable(session.settings, platform)
    gateway, writes = recall_gateway(session), session.writes()
    connecting = Connecting(settings, gateway, ConnectLinks(writes, gateway.vault))
    try:
        wanted = connecting.request(
            external_id, platform, asked["return_to"], replace=asked["replace"]
        )
    except BadTargetError as error:
        raise click.BadParameter(str(error), param_hint="--return-to") from None
    if existing := connecting.conflict(wanted):
        _refuse(f"{conflict_message(platform, existing)} On the command line: --replace.")
    url = connecting.link(wanted)
    with writes.begin() as connection:
        details = {"platform": platform, "replace": wanted.replace}
        audit(connection, session.actor(), "calendar connect-url", external_id, details)
    if asked["as_json"]:
        print_json({"url": url, "expires_in": int(LINK_SECONDS)})
    else:
        click.echo(url)


@calendar.command()
@external_id
@click.option("--create", is_flag=True, help="Allow a user that is not known here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def token(session: Session, external_id: str, *, create: bool, as_json: bool) -> None:
    """Print a calendar token, which opens the user's calendars for hours (exit 1 for none)."""
    # A typo would create an empty user at Recall that stays.
    if not create and not session.read(lambda c: is_known(c, external_id)):
        _refuse("this user is not known here; --create creates them at Recall")
    try:
        with recall_gateway(session).open() as recall:
            found = recall.users.checked_token(external_id)
    except UserErasedError:
        _refuse("this user was erased; reconnecting a calendar ends that")
    with session.writes().begin() as connection:
        audit(connection, session.actor(), "calendar token", external_id, {})
    if as_json:
        print_json({"token": found.token})
    else:
        click.echo(found.token)


def _refuse(words: str) -> NoReturn:
    click.echo(words, err=True)
    raise click.exceptions.Exit(NOTHING_FOUND)


def _connectable(settings: Settings, platform: Platform) -> Settings:
    if platform not in settings.oauth_platforms:
        raise SettingsError(f"{platform.upper()}_OAUTH_CLIENT_ID is not set")
    return settings


COMMANDS = ()
