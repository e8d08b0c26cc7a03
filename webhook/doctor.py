"""What a doctor looks at on our side: settings, database, Redis, deliveries; and what to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import redis
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from models.alarms import alarms
from models.overview import database_time, overview
from models.schema import HEAD
from models.settings import Settings
from models.why import in_words

Level = Literal["ok", "warning", "failed"]
# Beyond this the signed timestamps of half the tolerance are already spent.
MOST_SKEW_SECONDS = 60.0
CONNECTIONS_TIGHT = 0.8
# Policies that throw away what was never asked to expire: a queue's jobs, a bucket's level.
EVICTS_ANYTHING = "allkeys"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is, and what to do where it is not well."""

    level: Level
    name: str
    text: str
    remedy: str = ""


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


def examine_database(reads: Engine) -> Iterator[Finding]:
    """Look at the database, its migrations, its connections, and what has come in."""
    try:
        with reads.connect() as connection:
            yield from _database(connection)
    except SQLAlchemyError as error:
        yield Finding(
            "failed",
            "database",
            f"does not answer: {type(error).__name__}",
            "check DATABASE_URL; run the release line (alembic upgrade head) if tables are missing",
        )


def _database(connection: Connection) -> Iterator[Finding]:
    version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    yield Finding("ok", "database", _describe(connection))
    if version == HEAD:
        yield Finding("ok", "migrations", f"at {HEAD}")
    else:
        remedy = "run the release line: alembic upgrade head"
        yield Finding("failed", "migrations", f"at {version}, and not at {HEAD}", remedy)
    if connection.dialect.name == "postgresql":
        yield _connections(connection)
    yield skew("the database's clock", database_time(connection))
    found = overview(connection)
    yield _deliveries(found.last_delivery_at, found.at)
    for alarm in alarms(connection, found):
        yield Finding("warning", alarm.name, alarm.text, alarm.remedy)


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
    remedy = "a web process takes 7 and a worker 2: scale down, or take a larger plan"
    return Finding("warning", "connections", words, remedy)


def _deliveries(last: datetime | None, now: datetime) -> Finding:
    if last is None:
        return Finding(
            "warning",
            "deliveries",
            "no signed webhook has arrived yet",
            "give Recall the address …/webhooks/recall, and send a test from its dashboard",
        )
    return Finding(
        "ok", "deliveries", f"the last came {in_words((now - last).total_seconds())} ago"
    )


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
