"""The read contract: no view loses a column or changes its type."""

from alembic import command
from sqlalchemy import Connection, Engine, inspect, text, update

from models.core.title_words import title_columns
from models.queries.filters import LinkFilter
from models.queries.lists import links
from models.queries.views import VIEWS
from models.tables.base import UtcDateTime
from models.tables.calendar import CalendarMeeting
from tests.conftest import MakeSettings, alembic_config, migrate
from tests.support.title_writes import BY_AN_OLD_RELEASE

TEXT, TIME, COUNT, JSON, FLAG, WORDS = "text", "time", "count", "json", "flag", "words"
# A deliberate copy: changing a view requires changing this contract.
CONTRACT = {
    "bot_links": {
        "bot_id": TEXT, "bot_status": TEXT, "bot_sub_code": TEXT, "bot_status_at": TIME,
        "link_state": TEXT, "external_id": TEXT, "calendar_user_id": TEXT, "meeting_id": TEXT,
        "meeting_state": TEXT, "meeting_title": TEXT, "meeting_start": TIME, "meeting_end": TIME,
        "organizer_email": TEXT, "ical_uid": TEXT, "calendar_platform": TEXT,
        "meeting_platform": TEXT, "linked_at": TIME, "ended_at": TIME, "end_reason": TEXT,
        "recorded": FLAG, "recorded_from": TIME, "recorded_until": TIME, "ended_sub_code": TEXT,
        "recording_id": TEXT, "recording_expires_at": TIME, "transcript_id": TEXT,
        "bot_name": TEXT, "bot_metadata": JSON, "meeting_key": TEXT, "updated_at": TIME,
    },
    "unlinked_bots": {
        "bot_id": TEXT, "bot_status": TEXT, "bot_status_at": TIME, "link_state": TEXT,
        "due_at": TIME, "attempts": COUNT, "last_error": TEXT, "first_seen_at": TIME,
        "recorded": FLAG, "ended_sub_code": TEXT, "bot_name": TEXT, "bot_metadata": JSON,
    },
    "delivery_log": {
        "delivery_id": TEXT, "event": TEXT, "outcome": TEXT, "reason": TEXT, "bot_id": TEXT,
        "code": TEXT, "sub_code": TEXT, "occurred_at": TIME, "received_at": TIME, "copies": COUNT,
        "applied_at": TIME,
    },
    "bot_people": {"bot_id": TEXT, "meeting_id": TEXT, "email": TEXT},
    "attempt_log": {
        "attempt_id": COUNT, "bot_id": TEXT, "started_at": TIME, "finished_at": TIME,
        "outcome": TEXT, "error": TEXT, "calls": JSON,
    },
    "rejection_log": {
        "rejection_id": COUNT, "received_at": TIME, "reason": TEXT, "remote_addr": TEXT,
        "message_id": TEXT, "resolved_at": TIME,
    },
    "due_bots": {
        "bot_id": TEXT, "bot_status": TEXT, "link_state": TEXT, "due_at": TIME,
        "owed_since": TIME, "attempts": COUNT, "crashes": COUNT, "last_error": TEXT,
    },
    "unapplied_deliveries": {
        "delivery_id": TEXT, "event": TEXT, "bot_id": TEXT, "received_at": TIME,
    },
    "hourly_counts": {"hour": TIME, "name": TEXT, "label": TEXT, "count": COUNT},
    "audit_log": {
        "audit_id": COUNT, "at": TIME, "actor": TEXT, "action": TEXT, "subject": TEXT,
        "details": JSON,
    },
    "reconcile_log": {
        "run_id": COUNT, "since": TIME, "started_at": TIME, "finished_at": TIME,
        "is_complete": FLAG, "error": TEXT, "pages": COUNT, "bots_seen": COUNT,
        "bots_missed": COUNT, "statuses_missed": COUNT, "bots_due": COUNT, "unusable": COUNT,
        "started_by": TEXT, "state": TEXT,
    },
    "relink_batch_log": {
        "batch_id": COUNT, "retried_at": TIME, "actor": TEXT, "bot_id": TEXT, "outcome": TEXT,
        "reason": TEXT,
    },
    "recording_log": {
        "recording_id": TEXT, "bot_id": TEXT, "recording_status": TEXT, "started_at": TIME,
        "completed_at": TIME, "expires_at": TIME, "transcript_id": TEXT,
        "transcript_status": TEXT, "video_id": TEXT, "audio_id": TEXT,
        "participant_events_id": TEXT, "source": TEXT, "seen_at": TIME,
    },
    "missed_recordings": {
        "meeting_id": TEXT, "calendar_user_id": TEXT, "external_id": TEXT, "meeting_title": TEXT,
        "meeting_start": TIME, "meeting_end": TIME, "reason": TEXT, "sub_code": TEXT,
        "bot_id": TEXT, "found_at": TIME, "resolved_at": TIME,
    },
    "calendar_user_list": {
        "calendar_user_id": TEXT, "external_id": TEXT, "email": TEXT, "google_connected": FLAG,
        "microsoft_connected": FLAG, "seen_at": TIME, "gone_at": TIME,
    },
    "event_log": {
        "event_id": TEXT, "position": COUNT, "type": TEXT, "bot_id": TEXT, "meeting_id": TEXT,
        "external_id": TEXT, "created_at": TIME, "state": TEXT, "attempts": COUNT,
        "next_try_at": TIME, "data": JSON, "endpoints": TEXT,
    },
    "event_delivery_log": {
        "event_id": TEXT, "endpoint": TEXT, "position": COUNT, "bot_id": TEXT, "state": TEXT,
        "attempts": COUNT, "next_try_at": TIME,
    },
    "event_attempt_log": {
        "attempt_id": COUNT, "event_id": TEXT, "endpoint": TEXT, "at": TIME, "status": COUNT,
        "ms": COUNT, "error": TEXT,
    },
    "title_search": {"meeting_id": TEXT, "words": WORDS},
}  # fmt: skip
UNTYPED = {
    "event_log": ("endpoints",),
    "reconcile_log": ("state",),
    "relink_batch_log": ("outcome", "reason"),
}
KINDS = {
    "character varying": TEXT, "VARCHAR": TEXT,
    "timestamp with time zone": TIME, "DATETIME": TIME,
    "integer": COUNT, "INTEGER": COUNT, "bigint": COUNT, "BIGINT": COUNT,
    "jsonb": JSON, "JSON": JSON, "boolean": FLAG, "BOOLEAN": FLAG, "tsvector": WORDS, "": WORDS,
}  # fmt: skip


def columns_of(connection: Connection, view: str) -> dict[str, str]:
    """The columns of a view in order, with their kinds, from the database's catalogue."""
    asked = "SELECT name, type FROM pragma_table_info(:view) ORDER BY cid"
    if connection.dialect.name == "postgresql":
        asked = (
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_name = :view ORDER BY ordinal_position"
        )
    rows = connection.execute(text(asked), {"view": view})
    return {name: KINDS.get(kind, kind) for name, kind in rows}


def test_the_views_keep_every_column_and_its_type(engine: Engine) -> None:
    """Scripts, Dataclips and dashboards read them, so columns may only be added."""
    with engine.connect() as connection:
        assert set(inspect(connection).get_view_names()) == set(CONTRACT)
        is_sqlite = connection.dialect.name == "sqlite"
        for view, promised in CONTRACT.items():
            # SQLite tells no type of what is put together.
            untyped = {name: WORDS for name in UNTYPED.get(view, ()) if is_sqlite}
            found = list(columns_of(connection, view).items())
            assert found == list((promised | untyped).items()), view


def test_our_table_objects_match_the_views() -> None:
    """The API's columns are the views', so one contract holds for both."""
    for view in VIEWS:
        kinds = {
            column.name: TIME if isinstance(column.type, UtcDateTime) else None
            for column in view.columns
        }
        assert list(kinds) == list(CONTRACT[view.name])
        for name, kind in kinds.items():
            assert (kind == TIME) == (CONTRACT[view.name][name] == TIME), name


MEETING = """INSERT INTO calendar_meetings (id, start_time, end_time, state, title) VALUES
    ('m', '2026-11-24 10:00:00.000000', '2026-11-24 10:30:00.000000', 'owed', NULL)"""
BOT = """INSERT INTO bots (id, status, status_at, first_seen_at) VALUES
    ('b', 'done', '2026-11-24 10:00:00.000000', '2026-11-24 10:00:00.000000')"""
LINK = """INSERT INTO links (bot_id, meeting_id, seen_start, seen_end, linked_at, last_seen_at)
    SELECT 'b', 'm', start_time, end_time, start_time, start_time FROM calendar_meetings"""


def test_a_title_added_later_is_found(make_settings: MakeSettings, engine: Engine) -> None:
    """Also if the meeting was stored before the search existed."""
    config = alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
    with engine.begin() as connection:
        for statement in (MEETING, BOT, LINK):
            connection.execute(text(BY_AN_OLD_RELEASE + statement))
    migrate(make_settings(), "0005")
    with engine.begin() as connection:
        old = "UPDATE calendar_meetings SET title = 'Before the repair'"
        connection.execute(text(BY_AN_OLD_RELEASE + old))
    migrate(make_settings())
    assert _found(engine, "repair before") == ["Before the repair"]
    with engine.begin() as connection:
        connection.execute(update(CalendarMeeting).values(title_columns("Roadmap sync")))
    assert _found(engine, "SYNC") == ["Roadmap sync"]
    assert _found(engine, "repair") == []


def _found(engine: Engine, words: str) -> list[str | None]:
    with engine.connect() as connection:
        listing = links(LinkFilter(title=words), connection.dialect.name)
        return [row.meeting_title for row in listing.page(connection, 5).rows]
