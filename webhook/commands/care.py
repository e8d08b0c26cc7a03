"""status, doctor, reverify, db: looking after the service."""

from dataclasses import asdict
from pathlib import Path

import click
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from rich.markup import escape

from models.alarms import alarms
from models.overview import overview
from models.plain import plain
from models.why import in_words
from webhook.commands.output import NOTHING_FOUND, console, print_json, progress
from webhook.commands.session import Session
from webhook.doctor import Finding, examine_database, examine_redis, examine_settings
from webhook.doctor_calendar import examine_calendar
from webhook.doctor_recall import examine_recall
from webhook.reverify import reverify, unresolved

MARKS = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "failed": "[red]failed [/]"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(session: Session, *, as_json: bool) -> None:
    """Show backlog, oldest age, circuit, workers, and what is wrong (exit 1 if anything is)."""
    found = session.read(overview)
    wrong = session.read(lambda connection: alarms(connection, found))
    if as_json:
        print_json({**plain(found), "alarms": wrong})
    else:
        out, backlog = console(), found.backlog
        for name, count, age in (
            ("unapplied deliveries", backlog.unapplied, backlog.oldest_unapplied_seconds),
            ("due bots", backlog.due, backlog.oldest_due_seconds),
        ):
            oldest = "" if age is None else f", the oldest for {in_words(age)}"
            out.print(f"{name:<22}{count}{oldest}")
        out.print(f"{'being linked':<22}{backlog.leased}")
        out.print(
            f"{'pending/partial/failed':<22} {backlog.pending}/{backlog.partial}/{backlog.failed}"
        )
        out.print(f"{'workers':<22}{len(found.workers)}")
        for alarm in wrong:
            out.print(f"[yellow]{alarm.name}[/]: {escape(alarm.text)}\n  → {escape(alarm.remedy)}")
    if wrong:
        raise click.exceptions.Exit(NOTHING_FOUND)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--offline", is_flag=True, help="Do not ask Recall.")
@click.pass_obj
def doctor(session: Session, *, as_json: bool, offline: bool) -> None:
    """Look at everything that can be wrong, and say what to do (exit 1 if anything failed)."""
    found: list[Finding] = []
    parts = [
        examine_settings(session.settings),
        examine_calendar(session.settings),
        examine_database(session.reads()),
        examine_redis(session.redis()),
    ]
    if not offline:
        parts.append(examine_recall(session.settings))
    for part in parts:
        for finding in part:
            found.append(finding)
            if not as_json:
                _print_finding(finding)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in found]})
    if any(finding.level == "failed" for finding in found):
        raise click.exceptions.Exit(NOTHING_FOUND)


def _print_finding(finding: Finding) -> None:
    line = f"{MARKS[finding.level]} {finding.name}: {escape(finding.text)}"
    if finding.remedy:
        line += f"\n        → {escape(finding.remedy)}"
    console().print(line)


@click.command("reverify")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def reverify_all(session: Session, *, as_json: bool) -> None:
    """Check refused requests again, after a secret or a clock was mended."""
    total = session.read(unresolved)
    inbox = session.inbox()
    with progress() as bar:
        task = bar.add_task("checked again", total=total)
        done = reverify(
            session.settings,
            session.writes(),
            inbox,
            lambda count: bar.update(task, completed=count),
        )
    inbox.close()
    if done.accepted:
        session.bell().ring()
    if as_json:
        print_json(asdict(done))
    else:
        click.echo(f"{done.accepted} of {done.looked_at} taken in, {done.refused} refused again")
    if not done.accepted:
        raise click.exceptions.Exit(NOTHING_FOUND)


@click.group()
def db() -> None:
    """Bring the database to this release, or compare the two."""


@db.command()
def upgrade() -> None:
    """Run the migrations that are missing, as the Procfile's release line does."""
    command.upgrade(_alembic(), "head")


@db.command()
def check() -> None:
    """Compare the tables with this release's (exit 1 if they differ)."""
    try:
        command.check(_alembic())
    except CommandError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(NOTHING_FOUND) from None


def _alembic() -> Config:
    return Config(toml_file=Path(__file__).parents[2] / "pyproject.toml")


COMMANDS = (status, doctor, reverify_all, db)
