"""Fills what 0014 added from what is stored, and indexes it.

On PostgreSQL in batches and beside the work: nobody waits longer than for a lock of a moment.
Where it was cut off, it goes on.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

BATCH = 2000

# A pause ends a recording as well, and may carry the time at which the next one began.
RECORDED_UNTIL = """(SELECT min(after.occurred_at)
    FROM {0}bot_statuses AS after
    JOIN (SELECT bot_id, max(occurred_at) AS at FROM {0}bot_statuses
          WHERE code = 'in_call_recording' GROUP BY bot_id) AS started
      ON started.bot_id = after.bot_id
    WHERE after.bot_id = bots.id
      AND (after.code = 'in_call_not_recording' AND after.occurred_at > started.at
        OR after.code IN ('call_ended', 'recording_done', 'done', 'fatal')
           AND after.occurred_at >= started.at))"""
FILL_BOTS = """UPDATE {0}bots SET
    recorded = EXISTS (SELECT 1 FROM {0}bot_statuses AS s
        WHERE s.bot_id = bots.id AND s.code = 'in_call_recording'),
    recorded_from = (SELECT min(s.occurred_at) FROM {0}bot_statuses AS s
        WHERE s.bot_id = bots.id AND s.code = 'in_call_recording'),
    recorded_until = RECORDED_UNTIL,
    ended_sub_code = (SELECT s.sub_code FROM {0}bot_statuses AS s
        WHERE s.bot_id = bots.id AND s.code IN ('call_ended', 'done', 'fatal')
            AND s.sub_code <> ''
        ORDER BY CASE s.code WHEN 'fatal' THEN 2 WHEN 'call_ended' THEN 1 ELSE 0 END DESC,
            s.occurred_at DESC LIMIT 1)
    WHERE id IN :ids AND recorded IS NULL AND EXISTS (SELECT 1 FROM {0}bot_statuses AS s
        WHERE s.bot_id = bots.id AND s.code IN ('call_ended', 'done', 'fatal'))"""
FILL_LINKS = """UPDATE {0}links SET updated_at = last_seen_at
    WHERE bot_id IN :ids AND updated_at IS NULL"""
IS_DISCONNECTED = (
    "seen_at IS NOT NULL AND gone_at IS NULL"
    " AND google_connected IS NOT TRUE AND microsoft_connected IS NOT TRUE"
)
FINDING = "calendar_user_id, kind, subject"
INDEXES = {
    "ix_bots_recorded_first_seen_at_id": "bots (recorded, first_seen_at, id)",
    "ix_bots_ended_sub_code_first_seen_at_id": "bots (ended_sub_code, first_seen_at, id)",
    "ix_calendar_meetings_meeting_key": (
        "calendar_meetings (meeting_key) WHERE meeting_key IS NOT NULL"
    ),
    # Those that a release before this one writes while both run.
    "ix_calendar_meetings_keyless": (
        "calendar_meetings (id) WHERE ical_uid <> '' AND meeting_key IS NULL"
    ),
    "ix_calendar_users_email": "calendar_users (email)",
    "ix_calendar_users_seen_at_id": "calendar_users (seen_at, id)",
    "ix_calendar_users_disconnected": f"calendar_users (id) WHERE {IS_DISCONNECTED}",
    "ix_calendar_users_gone": "calendar_users (id) WHERE gone_at IS NOT NULL",
    "ix_calendar_findings_starts_at": f"calendar_findings (starts_at, {FINDING})",
    "ix_calendar_findings_found_at": f"calendar_findings (found_at, {FINDING})",
    "ix_links_updated_at_bot_id_meeting_id": "links (updated_at, bot_id, meeting_id)",
}
POSTGRESQL_INDEXES = {"ix_bots_metadata": "bots USING gin (metadata jsonb_path_ops)"}


def key_of(ical_uid: str, start: "datetime | str") -> str:
    """Return a meeting's key as this release makes it; the code's own may change later."""
    # SQLite's driver gives text.
    at = datetime.fromisoformat(start) if isinstance(start, str) else start
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return digest("ical", ical_uid, at)


def digest(kind: str, name: str, at: datetime) -> str:
    """Return the hash that stands for one meeting."""
    words = f"{kind}\n{name}\n{at:%Y-%m-%dT%H:%M:%SZ}"
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def upgrade() -> None:
    """Fill, then index."""
    bind = op.get_bind()
    if bind.dialect.name != "postgresql":
        _fill(bind, "")
        for name, definition in INDEXES.items():
            op.execute(f"CREATE INDEX {name} ON {definition}")
        return
    # The schema is named: without a transaction a pooler may have another path.
    schema = f"{bind.scalar(sa.text('SELECT quote_ident(current_schema())'))}."
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        _fill(op.get_bind(), schema)
        for name, definition in (INDEXES | POSTGRESQL_INDEXES).items():
            # One that was cut off is there, and good for nothing.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema}{name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {schema}{definition}")
        op.execute("RESET statement_timeout")
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    """Drop the indexes; what was filled goes with its columns."""
    names = [*INDEXES]
    if op.get_bind().dialect.name == "postgresql":
        names += POSTGRESQL_INDEXES
    for name in names:
        op.execute(f"DROP INDEX {name}")


def _fill(bind: sa.Connection, schema: str) -> None:
    ids: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
    bots = FILL_BOTS.replace("RECORDED_UNTIL", RECORDED_UNTIL).format(schema)
    links = FILL_LINKS.format(schema)
    for batch in _batches(bind, f"{schema}bots", "id"):
        for statement in (bots, links):
            bind.execute(sa.text(statement).bindparams(ids), {"ids": batch})
    for batch in _batches(bind, f"{schema}calendar_meetings", "id"):
        _fill_keys(bind, schema, batch)


def _fill_keys(bind: sa.Connection, schema: str, batch: "list[str]") -> None:
    asked = sa.text(
        f"SELECT id, ical_uid, start_time FROM {schema}calendar_meetings"  # noqa: S608 - our own names
        " WHERE id IN :ids AND ical_uid <> '' AND meeting_key IS NULL"
    ).bindparams(sa.bindparam("ids", expanding=True))
    rows = bind.execute(asked, {"ids": batch}).all()
    # Only where the row is as it was read: who writes it now writes its key as well.
    written = sa.text(
        f"UPDATE {schema}calendar_meetings SET meeting_key = :key"  # noqa: S608 - our own names
        " WHERE id = :id AND ical_uid = :uid AND start_time = :start AND meeting_key IS NULL"
    )
    news = [
        {
            "id": r.id,
            "uid": r.ical_uid,
            "start": r.start_time,
            "key": key_of(r.ical_uid, r.start_time),
        }
        for r in rows
    ]
    if news:
        bind.execute(written, news)


def _batches(bind: sa.Connection, table: str, key: str) -> "Iterator[list[Any]]":
    last = ""
    following = sa.text(
        f"SELECT {key} FROM {table} WHERE {key} > :last ORDER BY {key} LIMIT :batch"  # noqa: S608
    )
    while found := bind.scalars(following, {"last": last, "batch": BATCH}).all():
        yield list(found)
        last = found[-1]
