"""erase and export: what is stored about a person."""

import sys
from collections.abc import Iterable
from dataclasses import asdict

import click
from sqlalchemy import Connection

from models.core.sanitize import email_address, is_storable
from models.tables.base import database_time, longest
from models.tables.calendar import MeetingPerson
from webhook.cli.confirmation import confirm, yes_option
from webhook.cli.context import Session
from webhook.cli.exit_codes import NOTHING_FOUND
from webhook.cli.output import print_json
from webhook.cli.progress import progress
from workers.privacy.erase import Erased, Eraser, Holdings, holdings
from workers.privacy.export import as_json, is_anything_held, record_export, sections


def check_addresses(
    _context: click.Context, _param: click.Parameter, given: str | tuple[str, ...]
) -> str | tuple[str, ...]:
    """Refuse an address that no row can have: it would find nothing and look like success."""
    most = longest(MeetingPerson.email)
    for one in (given,) if isinstance(given, str) else given:
        if not 0 < len(email_address(one)) <= most or not is_storable(one):
            raise click.BadParameter(f"must be an email address of 1 to {most} characters")
    return given


_EMAIL = click.option(
    "--email",
    "emails",
    multiple=True,
    callback=check_addresses,
    help="Another address of this user, besides those they host meetings under.",
)


@click.command("erase")
@click.argument("external_id")
@_EMAIL
@click.option("--preview", is_flag=True, help="Only show what is stored.")
@yes_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def erase(
    session: Session, /, external_id: str, emails: tuple[str, ...], *, yes: bool, **how: bool
) -> None:
    """Erase what is stored about a calendar user, permanently; counts and link rows stay.

    Titles, attendees, payloads and errors are removed, the external_id becomes a pseudonym, and no
    token is requested for this user again, even if a webhook arrives late. Nothing is deleted at
    Recall: `calendar delete-user` does that.
    """
    held = session.read(lambda connection: holdings(connection, external_id, emails))
    # Always look first: an irreversible change is shown before it is made.
    as_json, only_shows = how["as_json"], how["preview"]
    if only_shows or not yes:
        _preview(held, as_json=as_json and only_shows)
    if only_shows:
        return
    confirm("Erase it permanently?", yes=yes)
    done = _erase(session, external_id, emails)
    if as_json:
        print_json({"erased": asdict(done), "tombstone": True})
    else:
        click.echo(_words(done))


def _preview(held: Holdings, *, as_json: bool) -> None:
    counts = {
        "calendar_users": len(held.user_ids),
        "meetings": len(held.meeting_ids),
        "bots": len(held.bot_ids),
        "addresses": list(held.addresses),
        "others_copies": len(held.copies),
    }
    if as_json:
        print_json({"held": counts})
        return
    click.echo(
        f"stored: {counts['meetings']} meetings and {counts['bots']} bots of"
        f" {counts['calendar_users']} calendar users, and {counts['others_copies']} copies in"
        f" other people's calendars naming {', '.join(held.addresses) or 'no address'}",
        err=True,
    )
    if not held.meeting_ids and not held.user_ids:
        click.echo("nothing is stored: only the tombstone would be written", err=True)


def _erase(session: Session, external_id: str, emails: Iterable[str]) -> Erased:
    eraser = Eraser(session.writes(), session.actor())
    eraser.add_tombstone(external_id)
    # Look again after the tombstone, to include what was linked in the meantime.
    held = session.read(lambda connection: holdings(connection, external_id, emails))
    done = Erased()
    with progress() as bar:
        task = bar.add_task("erased", total=held.batches)
        for so_far in eraser.erase(held):
            done = so_far
            bar.advance(task)
    return done


def _words(done: Erased) -> str:
    return (
        f"{done.meetings} meetings and {done.payloads} payloads emptied, {done.links} links"
        f" annotated, {done.copies} others' copies, {done.rejections} rejected requests"
        f" and {done.events} events cleared"
    )


@click.command("export")
@click.argument("external_id")
@_EMAIL
@click.option("--json", "_as_json", is_flag=True, help="Print JSON (it always does).")
@click.pass_obj
def export(session: Session, external_id: str, emails: tuple[str, ...], *, _as_json: bool) -> None:
    """Print everything stored about a calendar user, as one JSON object.

    external_id, exported_at, then a list for each table: calendar_users, links, calendar_meetings,
    meeting_people, others_copies, bots, bot_statuses, deliveries, link_attempts, events,
    rejections, calendar_findings, missed_meetings, calendar_tokens, erased_users, audit. Exit code
    1 when nothing is stored.
    """

    def is_held(connection: Connection) -> bool:
        held = holdings(connection, external_id, emails)
        return is_anything_held(connection, sections(connection, held))

    def write_all(connection: Connection) -> None:
        head = {"external_id": external_id, "exported_at": database_time(connection)}
        found = sections(connection, holdings(connection, external_id, emails))
        for text in as_json(head, ((one.name, one.rows(connection)) for one in found)):
            sys.stdout.write(text)

    # Recorded before it is read: no export without its row in the audit.
    if found := session.read(is_held):
        record_export(session.writes(), session.actor(), external_id)
    session.read(write_all)
    if not found:
        click.echo("nothing is stored about this external_id", err=True)
        raise click.exceptions.Exit(NOTHING_FOUND)


COMMANDS = (erase, export)
