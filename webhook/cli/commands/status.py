"""status, doctor and reverify: operating the service."""

from collections.abc import Iterator
from dataclasses import asdict

import click

from models.core.humanize import duration
from models.core.serialize import plain
from models.queries.alarms.alerts import Alarm, alarms
from models.queries.circuit import Circuit
from models.queries.reconcile import describe_reconcile
from models.queries.service_status import Overview, overview
from webhook.cli.context import Session
from webhook.cli.exit_codes import AWAY, NOTHING_FOUND
from webhook.cli.output import print_facts, print_json, say, say_error
from webhook.cli.progress import progress
from webhook.cli.services import inbox_of, redis_of, wakeup_of
from webhook.doctor.alerts import send_test_alert
from webhook.doctor.calendar import examine_calendar
from webhook.doctor.recall import examine_recall
from webhook.doctor.redis_server import examine_redis
from webhook.doctor.result import Diagnosis
from webhook.doctor.system import examine_database, examine_settings
from webhook.receiver.reverify import Reverified, reverify, unresolved
from webhook.receiver.storage import NotStoredError
from webhook.web.labels import label

STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(session: Session, *, as_json: bool) -> None:
    """Show what is waiting and since when, the circuit, workers and active alarms.

    Exit 1 if an alarm is active, as doctor does.
    """
    found = session.read(overview)
    active = session.read(lambda connection: alarms(connection, found))
    if as_json:
        print_json({**plain(found), "alarms": active})
    else:
        print_facts(_facts(found))
        for alarm in active:
            _say_alarm(alarm)
    if active:
        raise click.exceptions.Exit(NOTHING_FOUND)


def _facts(found: Overview) -> Iterator[tuple[str, object]]:
    backlog, circuit = found.backlog, found.circuit
    yield "webhooks waiting", _aged(backlog.unapplied, backlog.oldest_unapplied_seconds)
    yield "look-ups waiting", _aged(backlog.due, backlog.oldest_due_seconds)
    yield "being processed", backlog.leased
    for name in ("pending", "partial", "failed"):
        yield name, getattr(backlog, name)
    yield "Recall API", _reachable(circuit)
    for bucket, quota in found.quota.items():
        yield f"rate limit left, {bucket}", f"burst {quota['left']:g}, {quota['per_minute']:g}/min"
    for worker in found.workers:
        yield f"worker {worker.name}", f"reported {duration(worker.seen_seconds)} ago"
    yield "last delivery", found.last_delivery_at or "none yet"
    if found.reconcile:
        yield "last reconcile", describe_reconcile(found.reconcile)
    if found.findings:
        counts = sorted(found.findings.items())
        yield "calendar findings", ", ".join(f"{label(kind)}: {count}" for kind, count in counts)
    for name in ("deliveries", "rejections"):
        yield f"{name}, 24 h", sum(sum(getattr(hour, name).values()) for hour in found.hours)


def _aged(count: int, seconds: float | None) -> str:
    return str(count) if seconds is None else f"{count}, oldest {duration(seconds)}"


def _reachable(circuit: Circuit) -> str:
    if not circuit.open_for:
        return "reachable (circuit closed)"
    return f"refuses all requests (circuit open, next attempt in {duration(circuit.open_for)})"


def _say_alarm(alarm: Alarm) -> None:
    say((alarm.title, "red"), (f" ({alarm.name})", "dim"), (f": {alarm.text}", ""))
    say((f"  → {alarm.remedy}", ""))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--offline", is_flag=True, help="Do not contact Recall.")
@click.option(
    "--send-test-alert", "sends", is_flag=True, help="Send a test message to ALERT_WEBHOOK_URL."
)
@click.pass_obj
def doctor(session: Session, *, as_json: bool, offline: bool, sends: bool) -> None:
    """Check everything that can be wrong, and say what to do.

    Exit 1 if anything failed or an alarm is active, as status does; 3 if the database or Recall
    does not answer. A warning alone is 0.
    """
    found = []
    for finding in _examine(session, offline=offline, sends=sends):
        found.append(finding)
        if not as_json:
            # Printed at once, because a call to Recall may take ten seconds.
            _say_finding(finding)
    if as_json:
        print_json({"findings": found})
    if any(finding.is_away for finding in found):
        raise click.exceptions.Exit(AWAY)
    if any(finding.level == "failed" for finding in found):
        raise click.exceptions.Exit(NOTHING_FOUND)


def _examine(session: Session, *, offline: bool, sends: bool) -> Iterator[Diagnosis]:
    yield from examine_settings(session.settings)
    yield from examine_calendar(session.settings)
    yield from examine_database(session.reads(), session.settings)
    yield from examine_redis(redis_of(session))
    if not offline:
        yield from examine_recall(session.settings)
    if sends:
        yield send_test_alert(session.settings)


def _say_finding(finding: Diagnosis) -> None:
    name = f"{finding.title} ({finding.name})" if finding.title else finding.name
    say((f"{finding.level:<8}", STYLES[finding.level]), (f"{name}: {finding.text}", ""))
    if finding.remedy:
        say((f"        → {finding.remedy}", ""))


@click.command("reverify")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def reverify_all(session: Session, *, as_json: bool) -> None:
    """Check rejected requests again after you fix the signing secret or the clock."""
    if not session.settings.recall_webhook_secrets:
        raise click.UsageError("RECALL_WEBHOOK_SECRETS is not set: nothing can be verified")
    total = session.read(unresolved)
    done = _reverify(session, total)
    if done.accepted:
        wakeup_of(session).send()
    if as_json:
        print_json(asdict(done))
    else:
        click.echo(f"{done.accepted} accepted, {done.refused} still rejected")
    if not done.accepted:
        raise click.exceptions.Exit(NOTHING_FOUND)


def _reverify(session: Session, total: int) -> Reverified:
    inbox = inbox_of(session)
    with progress() as bar:
        task = bar.add_task("checked again", total=total)
        try:
            return reverify(
                session.settings,
                session.writes(),
                inbox,
                lambda count: bar.update(task, completed=count),
            )
        except NotStoredError:
            say_error("the database does not answer")
            raise click.exceptions.Exit(AWAY) from None
        finally:
            inbox.close()


COMMANDS = (status, doctor, reverify_all)
