"""person: what is stored about the person at an address, user or guest, and its erasure."""

import sys
from dataclasses import asdict

import click

from webhook.cli.commands.privacy import check_addresses
from webhook.cli.confirmation import confirm_by_typing, yes_option
from webhook.cli.context import Session
from webhook.cli.exit_codes import NOTHING_FOUND
from webhook.cli.output import print_json, print_rows, print_sample, say
from webhook.cli.progress import progress
from webhook.services.people import People
from workers.privacy.person import HeldRow, Person, PersonErased

_COLUMNS = ("external_id", "kind", "rows")


@click.command("person")
@click.argument("email", callback=check_addresses)
@click.option("--erase", is_flag=True, help="Erase what is stored, permanently.")
@yes_option
@click.option("--json", "as_json", is_flag=True, help="Print everything stored as one JSON object.")
@click.pass_obj
def person(session: Session, email: str, *, erase: bool, yes: bool, as_json: bool) -> None:
    """Show what is stored about a person by their address: a calendar user, or a guest.

    Prints how many rows of each table are stored about the calendar users with this address, and
    how many name a guest (no external_id); --json prints the rows themselves, which is audited as
    an export. --erase erases a calendar user as `erase` does, and takes a guest's address and name
    out of other people's meetings. Exit code 1 when nothing is stored.
    """
    people = People(session.reader(), session.writes())
    found, rows = people.find(email)
    if not rows:
        click.echo("nothing is stored about this address", err=True)
        raise click.exceptions.Exit(NOTHING_FOUND)
    if erase:
        if not yes:
            print_sample(rows, _COLUMNS)
        confirm_by_typing(found.address, yes=yes)
        _say(_erase(people, session.actor(), found), as_json=as_json)
        return
    if as_json:
        for text in people.export(found, session.actor()):
            sys.stdout.write(text)
    else:
        print_rows(rows, HeldRow, _COLUMNS, "table")


def _erase(people: People, actor: str, found: Person) -> PersonErased:
    done = PersonErased()
    with progress() as bar:
        task = bar.add_task("erased", total=found.steps)
        for so_far in people.erase(found, actor):
            done = so_far
            bar.advance(task)
    return done


def _say(done: PersonErased, *, as_json: bool) -> None:
    if as_json:
        print_json({"erased": {"users": done.users, "guest": done.guest}})
        return
    for external_id, erased in done.users.items():
        counts = ", ".join(f"{n} {name}" for name, n in asdict(erased).items())
        say((f"calendar user {external_id} erased: {counts}", ""))
    counts = ", ".join(f"{n} {name}" for name, n in sorted(done.guest.items()) if n)
    click.echo(f"named in other people's rows, and taken out: {counts or 'nothing'}")


COMMANDS = (person,)
