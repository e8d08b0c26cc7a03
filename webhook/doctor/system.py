"""Checks the settings, the database and the alarms."""

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import is_unavailable, reason
from models.core.database_remedies import remedy
from models.core.humanize import plural
from models.queries.alarms.alerts import alarms
from models.queries.service_status import overview
from models.settings.environment import Settings
from models.tables.base import database_time
from models.tables.schema_version import ENCODING, HEAD, version, wrong_encoding
from webhook.doctor.alerts import examine_alerts
from webhook.doctor.connections import examine_connections, way
from webhook.doctor.deliveries import examine_deliveries
from webhook.doctor.reconcile import examine_reconcile
from webhook.doctor.result import Diagnosis

# Beyond this, a fifth of the default timestamp tolerance is used up.
MOST_SKEW_SECONDS = 60.0


def examine_settings(settings: Settings) -> Iterator[Diagnosis]:
    """Check the settings; secrets are shown as fingerprints."""
    prints = ", ".join(secret.fingerprint for secret in settings.recall_webhook_secrets)
    if prints:
        yield Diagnosis("ok", "webhook secrets", f"fingerprints {prints}")
    else:
        yield Diagnosis(
            "failed",
            "webhook secrets",
            "RECALL_WEBHOOK_SECRETS is not set: the receiver answers 503",
            "copy the endpoint's signing secret from Recall's dashboard",
        )
    if settings.ops_write_tokens or settings.ops_read_tokens:
        yield Diagnosis("ok", "ops tokens", _token_names(settings))
    else:
        yield Diagnosis(
            "warning",
            "ops tokens",
            "neither OPS_READ_TOKENS nor OPS_WRITE_TOKENS is set: API and console answer 503",
            "set them to long random strings",
        )
    for one in settings.misnamed:
        remedy = f"set {one.setting} if that is what you meant"
        yield Diagnosis("warning", "setting names", str(one), remedy)


def _token_names(settings: Settings) -> str:
    tokens = {*settings.ops_write_tokens, *settings.ops_read_tokens}
    names = sorted(token.name for token in tokens if token.name)
    nameless = sum(not token.name for token in tokens)
    without = [f"{plural(nameless, 'token')} without a name"] if nameless else []
    return ", ".join([*names, *without])


def examine_database(reads: Engine, settings: Settings) -> Iterator[Diagnosis]:
    """Check the database, its migrations and connections, and the webhooks received."""
    try:
        with reads.connect() as connection:
            yield Diagnosis("ok", "database", _describe(connection))
            yield from _encoding(connection)
            found = version(connection)
            yield _migrations(found)
            if connection.dialect.name == "postgresql":
                yield examine_connections(connection)
            yield skew("the database's clock", database_time(connection))
            if found == HEAD:
                yield from _work(connection, settings)
    except SQLAlchemyError as error:
        words = f"does not answer: {reason(error)}" if is_unavailable(error) else reason(error)
        yield Diagnosis("failed", "database", words, remedy(error), is_away=is_unavailable(error))


def _encoding(connection: Connection) -> Iterator[Diagnosis]:
    found = wrong_encoding(connection)
    if found is not None:
        remedy = f"move to a database that was created with ENCODING '{ENCODING}'"
        words = f"{found}: it cannot hold every title and message"
        yield Diagnosis("failed", "encoding", words, remedy)


def _migrations(found: str | None) -> Diagnosis:
    if found == HEAD:
        return Diagnosis("ok", "migrations", f"at {HEAD}")
    words = "there are no tables yet" if found is None else f"at {found}, expected {HEAD}"
    remedy = "run `recall-links db upgrade` (the Procfile's release command)"
    if found is not None and found > HEAD:
        remedy = "this program is older than the database: deploy the newer release here as well"
    return Diagnosis("failed", "migrations", words, remedy)


def _work(connection: Connection, settings: Settings) -> Iterator[Diagnosis]:
    found = overview(connection)
    yield from examine_deliveries(connection, settings, found.at)
    yield examine_reconcile(connection, settings, found.at)
    yield from examine_alerts(connection, settings)
    for alarm in alarms(connection, found):
        # Level failed, so that doctor and status both exit with 1 while an alarm is active.
        yield Diagnosis("failed", alarm.name, alarm.text, alarm.remedy, title=alarm.title)


def _describe(connection: Connection) -> str:
    if connection.dialect.name == "postgresql":
        found = connection.scalar(text("SHOW server_version"))
        return f"PostgreSQL {found}{way(connection)}"
    return f"SQLite {connection.scalar(text('SELECT sqlite_version()'))}"


def skew(whose: str, moment: datetime) -> Diagnosis:
    """Compare a clock with this machine's clock."""
    seconds = (moment - datetime.now(UTC)).total_seconds()
    if abs(seconds) <= MOST_SKEW_SECONDS:
        return Diagnosis("ok", whose, "agrees with this machine's")
    return Diagnosis(
        "failed",
        whose,
        f"differs from this machine's by {seconds:+.0f} s",
        "set the clock: webhooks are rejected when it is off by WEBHOOK_TOLERANCE_SECONDS",
    )
