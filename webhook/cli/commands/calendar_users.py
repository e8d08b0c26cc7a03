"""calendar user, meetings, refresh, disconnect, delete-user and check: manage one calendar user."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click
from pydantic import BaseModel

from models.queries.filters import Time
from models.queries.registry import CALENDAR_USERS, FINDINGS
from models.settings.calendar import PLATFORMS
from webhook.cli.commands.calendar_connect import calendar, external_id
from webhook.cli.commands.lists import list_command
from webhook.cli.confirmation import confirm, yes_option
from webhook.cli.context import Session
from webhook.cli.exit_codes import NOTHING_FOUND
from webhook.cli.output import print_json, print_rows, visible
from webhook.cli.recall import calendar_client
from webhook.web.labels import label
from webhook.web.validation import BadParameterError, checked
from workers.calendar_tokens.crypto import Vault
from workers.calendars.actions import CalendarUserActions, UnknownUserError
from workers.calendars.check import Check, CheckResult
from workers.privacy.tombstones import UserErasedError
from workers.recall_api.calendar_client import CalendarClient
from workers.recall_api.calendar_schemas import CalendarUser, ListedMeeting

PATIENCE_SECONDS = 60.0
# Recall may need minutes for a large calendar.
CALL_SECONDS = 180.0
RARELY_NEEDED = (
    "Recall reads calendars by itself, and updates its bots when preferences or an event change:"
    " a refresh is rarely needed, and it counts against the user's rate limit"
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@dataclass(frozen=True, slots=True)
class MeetingLine:
    """One meeting in the list of a calendar."""

    id: str
    title: str | None
    start_time: datetime | None
    end_time: datetime | None
    calendar_platform: str | None
    meeting_platform: str | None
    will_record: bool | None
    will_record_reason: str | None
    bot_id: str | None


@dataclass(frozen=True, slots=True)
class ConnectionLine:
    """A user's connection to one platform."""

    platform: str
    connected: bool
    email: str | None


_SHOWN = ("id", "title", "start_time", "will_record", "bot_id")


class _Window(BaseModel):
    since: Time | None = None
    until: Time | None = None


@contextmanager
def _calendar_actions(session: Session) -> Iterator[tuple[CalendarUserActions, CalendarClient]]:
    client = calendar_client(session, patience=PATIENCE_SECONDS, seconds=CALL_SECONDS)
    vault = Vault(session.settings.api_key)
    try:
        yield CalendarUserActions(session.writes(), vault, client, session.actor()), client
    except UnknownUserError:
        _refuse("Recall has no calendar user with this external_id; a token would create one")
    except UserErasedError:
        _refuse("this user is erased: no token is requested for them until they reconnect")


def _refuse(words: str) -> None:
    click.echo(words, err=True)
    raise click.exceptions.Exit(NOTHING_FOUND)


@calendar.command("user")
@external_id
@_JSON
@click.pass_obj
def user(session: Session, external_id: str, *, as_json: bool) -> None:
    """Show a calendar user's connections and recording preferences."""
    with _calendar_actions(session) as (actions, _):
        _print_user(actions.user(external_id), as_json=as_json)


@calendar.command("meetings")
@external_id
@click.option("--since", help="Meetings that start at or after this time, such as today.")
@click.option("--until", help="Meetings that start before.")
@_JSON
@click.pass_obj
def meetings(
    session: Session, external_id: str, since: str | None, until: str | None, *, as_json: bool
) -> None:
    """List a user's meetings as Recall has them, at most 60 days back and 4 weeks ahead."""
    given = {"since": since, "until": until}
    try:
        window = checked(_Window, {name: v for name, v in given.items() if v is not None})
    except BadParameterError as error:
        raise click.BadParameter(error.detail, param_hint=f"--{error.parameter}") from None
    with _calendar_actions(session) as (actions, _):
        found = actions.meetings(external_id, window.since, window.until)
    _print_meetings(found, as_json=as_json)
    if not found:
        raise click.exceptions.Exit(NOTHING_FOUND)


@calendar.command("refresh")
@external_id
@_JSON
@click.pass_obj
def refresh(session: Session, external_id: str, *, as_json: bool) -> None:
    """Have Recall read a user's calendars again; rarely needed, since it does so by itself."""
    # Before the call, so that people can still stop it.
    click.echo(RARELY_NEEDED, err=True)
    with _calendar_actions(session) as (actions, _):
        _print_meetings(actions.refresh(external_id), as_json=as_json)


@calendar.command("disconnect")
@external_id
@click.option("--platform", required=True, type=click.Choice(PLATFORMS))
@yes_option
@_JSON
@click.pass_obj
def disconnect(
    session: Session, external_id: str, platform: str, *, yes: bool, as_json: bool
) -> None:
    """Disconnect one calendar; the user and a calendar of the other platform are kept."""
    confirm(f"Remove the {platform} calendar from Recall, with its scheduled bots?", yes=yes)
    with _calendar_actions(session) as (actions, client):
        left = actions.disconnect(external_id, platform)
        # Check now, so that what Recall removed is known before the nightly check.
        result = Check(session.writes(), client).one(external_id, actions)
    click.echo(result.in_words(), err=True)
    _print_user(left, as_json=as_json)


@calendar.command("delete-user")
@external_id
@yes_option
@_JSON
@click.pass_obj
def delete_user(session: Session, external_id: str, *, yes: bool, as_json: bool) -> None:
    """Delete a user from Recall with every calendar; links are kept and marked."""
    words = "Delete this calendar user from Recall, with every calendar and scheduled bot?"
    confirm(words, yes=yes)
    with _calendar_actions(session) as (actions, _):
        done = actions.delete(external_id)
    if as_json:
        print_json(done)
    else:
        click.echo(
            f"deleted from Recall; {done.links} links marked. `erase` removes what is stored"
        )


@calendar.command("check")
@external_id
@_JSON
@click.pass_obj
def check(session: Session, external_id: str, *, as_json: bool) -> None:
    """Check a user's links against their calendar and report problems (exit 1 if there are any)."""
    with _calendar_actions(session) as (actions, client):
        result = Check(session.writes(), client).one(external_id, actions)
    if as_json:
        print_json(result)
    else:
        _print_check(result)
    if result.findings or result.changed or result.missed:
        raise click.exceptions.Exit(NOTHING_FOUND)


def _print_check(result: CheckResult) -> None:
    click.echo(result.in_words())
    for change in result.changes:
        click.echo(f"{change.bot_id} → {change.meeting_id}: {change.what} ({change.reason})")
    for one in result.missed:
        why = f"{one.reason} ({one.sub_code})" if one.sub_code else one.reason
        title = visible(one.title) or one.meeting_id
        click.echo(f"missed: {title} at {visible(one.start_time)}: {why}")
    for finding in result.findings:
        at = f" at {visible(finding.starts_at)}" if finding.starts_at else ""
        bots = f": {', '.join(finding.bot_ids)}" if finding.bot_ids else ""
        click.echo(f"{label(finding.kind)} ({finding.kind}): {finding.subject}{at}{bots}")


def _print_user(found: CalendarUser, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.id} {visible(found.external_id)}")
    # Recall always lists both platforms, including an unconnected one.
    lines = [ConnectionLine(c.platform, c.connected, c.email) for c in found.connections]
    print_rows(lines, ConnectionLine, ("platform", "connected", "email"), "table")
    wanted = [label(name) for name, value in (found.preferences or {}).items() if value is True]
    click.echo(f"recording preferences: {', '.join(sorted(wanted)) or 'none'}")


def _print_meetings(found: tuple[ListedMeeting, ...], *, as_json: bool) -> None:
    print_rows([_line(one) for one in found], MeetingLine, _SHOWN, "json" if as_json else "table")


def _line(one: ListedMeeting) -> MeetingLine:
    body: Any = one.body
    shared = {n: getattr(body, n) for n in MeetingLine.__slots__ if n not in ("id", "bot_id")}
    return MeetingLine(id=one.id, bot_id=one.bot_id, **shared)


for kind in (CALENDAR_USERS, FINDINGS):
    calendar.add_command(list_command(kind))
# With this module, the group has all its commands.
COMMANDS = (calendar,)
