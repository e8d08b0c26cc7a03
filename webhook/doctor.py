"""What a doctor looks at on our side: settings, database, Redis, deliveries; and what to do."""

from collections.abc import Iterator
from datetime import UTC, datetime

import redis
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from models.alarms import alarms
from models.overview import database_time, overview
from models.schema import HEAD
from models.settings import Settings
from webhook.doctor_deliveries import examine_deliveries
from webhook.finding import Finding

# Beyond this the signed timestamps of half the tolerance are already spent.
MOST_SKEW_SECONDS = 60.0
CONNECTIONS_TIGHT = 0.8
# Policies that throw away what was never asked to expire: a queue's jobs, a bucket's level.
EVICTS_ANYTHING = "allkeys"


def examine_settings(settings: Settings) -> Iterator[Finding]:
    """Look at what is set; secrets are told by their fingerprints."""
    prints = ", ".join(secret.fingerprint for secret in settings.recall_webhook_secrets)
    if prints:
        yield Finding("ok", "webhook secrets", f"fingerprints {prints}")
    else:
        yield Finding(
            "failed",
            "webhook secrets",
            "RECALL_WEBHOOK_SECRETS is not set: the receiver answers 503",
            "copy the endpoint's signing secret from Recall's dashboard",
        )
    if settings.ops_write_tokens or settings.ops_read_tokens:
        yield Finding("ok", "ops tokens", "set")
    else:
        yield Finding(
            "warning",
            "ops tokens",
            "neither OPS_READ_TOKENS nor OPS_WRITE_TOKENS is set: API and console answer 503",
            "set them to long random words",
        )


def examine_database(reads: Engine, settings: Settings) -> Iterator[Finding]:
    """Look at the database, its migrations, its connections, and what has come in."""
    try:
        with reads.connect() as connection:
            yield Finding("ok", "database", _describe(connection))
            version = _version(connection)
            yield _migrations(version)
            if connection.dialect.name == "postgresql":
                yield _connections(connection)
            yield skew("the database's clock", database_time(connection))
            if version == HEAD:
                yield from _work(connection, settings)
    except SQLAlchemyError as error:
        text, remedy = (
            f"does not answer: {type(error).__name__}",
            "check DATABASE_URL and its server",
        )
        yield Finding("failed", "database", text, remedy, is_away=True)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _migrations(version: str | None) -> Finding:
    if version == HEAD:
        return Finding("ok", "migrations", f"at {HEAD}")
    words = "no table is there yet" if version is None else f"at {version}, and not at {HEAD}"
    remedy = "run `recall-links db upgrade` (the Procfile's release line)"
    if version is not None and version > HEAD:
        remedy = "this program is older than the database: deploy the newer release here as well"
    return Finding("failed", "migrations", words, remedy)


def _work(connection: Connection, settings: Settings) -> Iterator[Finding]:
    found = overview(connection)
    yield from examine_deliveries(connection, settings, found.at)
    for alarm in alarms(connection, found):
        # Failed, so that doctor and status end alike: 1 where an alarm rings.
        yield Finding("failed", alarm.name, alarm.text, alarm.remedy)


def _describe(connection: Connection) -> str:
    if connection.dialect.name == "postgresql":
        return f"PostgreSQL {connection.scalar(text('SHOW server_version'))}"
    return f"SQLite {connection.scalar(text('SELECT sqlite_version()'))}"


def _connections(connection: Connection) -> Finding:
    used = connection.scalar(
        text("SELECT count(*) FROM pg_stat_activity WHERE usename = current_user")
    )
    row = connection.execute(
        text(
            "SELECT rolconnlimit, current_setting('max_connections')::int AS most"
            " FROM pg_roles WHERE rolname = current_user"
        )
    ).one()
    most = row.rolconnlimit if row.rolconnlimit >= 0 else row.most
    words = f"{used} of {most} in use"
    if (used or 0) < CONNECTIONS_TIGHT * most:
        return Finding("ok", "connections", words)
    remedy = (
        "a web process takes up to 7 and a worker 2, 3 during the nightly calendar sweep:"
        " scale down, or take a larger plan"
    )
    return Finding("warning", "connections", words, remedy)


def skew(whose: str, moment: datetime) -> Finding:
    """Compare a clock with this machine's."""
    seconds = (moment - datetime.now(UTC)).total_seconds()
    if abs(seconds) <= MOST_SKEW_SECONDS:
        return Finding("ok", whose, "agrees with this machine's")
    return Finding(
        "failed",
        whose,
        f"differs from this machine's by {seconds:+.0f} s",
        "set the clock: webhooks are refused when it is off by WEBHOOK_TOLERANCE_SECONDS",
    )


def examine_redis(client: redis.Redis | None) -> Iterator[Finding]:
    """Look at Redis: links come without it, only later."""
    if client is None:
        remedy = "set REDIS_URL: without it links wait for the next sweep"
        yield Finding("warning", "Redis", "REDIS_URL is not set", remedy)
        return
    try:
        server = client.info("server")
        memory = client.info("memory")
    except redis.RedisError as error:
        remedy = "check REDIS_URL; for a self-signed certificate set REDIS_TLS_VERIFY=none"
        yield Finding("warning", "Redis", f"is away: {type(error).__name__}", remedy)
        return
    yield Finding("ok", "Redis", f"version {server.get('redis_version')}")
    policy = str(memory.get("maxmemory_policy", "unknown"))
    if policy.startswith(EVICTS_ANYTHING):
        remedy = "set maxmemory-policy to noeviction: evicted rate limits let 429s through"
        yield Finding("warning", "eviction policy", policy, remedy)
    else:
        yield Finding("ok", "eviction policy", policy)
