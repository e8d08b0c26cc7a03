"""Reports recordings a day before they expire, once, in the transaction that marks them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import Connection, Select, Table, bindparam, select, text, update

from models.tables.base import db_now
from models.tables.recording import Recording
from workers.outbox.links import lock_bots
from workers.recordings.events import RecordingNews, write_recording_events

# So long before its end a recording is reported; an end that moves by less is not reported again.
NOTICE = timedelta(days=1)
_RECORDINGS = cast("Table", Recording.__table__)


def report_expiring(connection: Connection, limit: int) -> int:
    """Write `recording.expiring` for recordings that expire within a day; returns how many."""
    found = connection.execute(_expiring(limit)).all()
    if not found:
        return 0
    # Before the recordings, as every writer of both; and nobody is erased until this commits.
    lock_bots(connection, {row.bot_id for row in found})
    # Read again, since another worker may have reported some meanwhile.
    are_found = _RECORDINGS.c.id.in_([row.id for row in found])
    rows = connection.execute(_expiring(limit).where(are_found).with_for_update(skip_locked=True))
    return _report(connection, rows.all())


def _expiring(limit: int) -> Select[*tuple[Any, ...]]:
    columns = _RECORDINGS.c
    is_soon = (columns.expires_at > db_now(), columns.expires_at <= db_now(NOTICE.total_seconds()))
    expiring = select(_RECORDINGS).where(text(Recording.IS_EXPIRY_UNREPORTED), *is_soon)
    return expiring.order_by(columns.expires_at, columns.id).limit(limit)


def _report(connection: Connection, rows: Sequence[Any]) -> int:
    if rows:
        marks = [{"key": row.id, "until": row.expires_at + NOTICE} for row in rows]
        marked = update(_RECORDINGS).where(_RECORDINGS.c.id == bindparam("key"))
        connection.execute(marked.values(expiry_reported_until=bindparam("until")), marks)
    news = [RecordingNews("recording.expiring", row.id, row.bot_id, row) for row in rows]
    write_recording_events(connection, news)
    return len(rows)
