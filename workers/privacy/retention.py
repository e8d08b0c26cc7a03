"""Retention: payloads and attempts expire; ids and links are kept."""

import time
from datetime import datetime

from sqlalchemy import Connection, Engine, and_, delete, select, tuple_, update

from models.core.sanitize import utc_time
from models.settings.environment import Settings
from models.tables.base import db_now
from models.tables.calendar import CalendarToken
from models.tables.calendar_finding import CalendarFinding
from models.tables.connect_link import ConnectLink
from models.tables.delivery import Delivery
from models.tables.event import Event, EventAttempt, EventDelivery
from models.tables.link import LinkAttempt
from models.tables.missed_meeting import MissedMeeting
from models.tables.rejection import Rejection
from models.tables.relink_batch import RelinkBatch, RelinkBatchBot
from models.tables.workspace_state import BODIES_EMPTIED, WorkspaceState
from workers.db.workspace_state import write_state
from workers.privacy.redact import empty_late_bodies

EVERY_SECONDS = 3600.0
SOON_SECONDS = 60.0
DAY_SECONDS = 86_400.0
# A check judges the last seven days: a month shows how often somebody's meetings are missed.
MISSED_DAYS = 30
# After its meeting is over a finding still says, for a week, that the meeting was to be recorded.
FINDING_DAYS = 8
BATCH = 500
# The poller has other work: the rest waits for the next purge.
MOST_BATCHES = 20
_BY_EVENT = (
    (EventAttempt, EventAttempt.event_id),
    (EventDelivery, EventDelivery.event_id),
    (Event, Event.id),
)


class Retention:
    """Empties old payloads, deletes old attempts and expired tokens, in small batches."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._next_at = 0.0

    def purge_when_due(self) -> int:
        """Purge once an hour; returns how many rows were changed."""
        if time.monotonic() < self._next_at:
            return 0
        purged = self.purge()
        # After a busy week there is more to remove than one purge may.
        is_more = purged >= BATCH * MOST_BATCHES
        self._next_at = time.monotonic() + (SOON_SECONDS if is_more else EVERY_SECONDS)
        return purged

    def purge(self) -> int:
        """Purge now, in batches; returns how many rows were changed."""
        total = 0
        for step in (
            self._empty_bodies,
            self._empty_rejections,
            self._empty_late,
            self._delete_attempts,
            self._delete_relink_batches,
            self._delete_events,
            self._delete_event_attempts,
            self._delete_tokens,
            self._delete_connect_links,
            self._delete_missed_meetings,
            self._delete_findings,
        ):
            for _ in range(MOST_BATCHES):
                with self._engine.begin() as connection:
                    changed = step(connection)
                total += changed
                if changed < BATCH:
                    break
        return total

    def _empty_bodies(self, connection: Connection) -> int:
        # Starts where the last purge ended, so as not to scan the rows before it again.
        since = _emptied_until(connection)
        before = db_now(-self._settings.retain_payload_days * DAY_SECONDS)
        is_old = and_(Delivery.received_at < before, Delivery.body != b"")
        old = select(Delivery.id, Delivery.received_at).where(is_old)
        if since is not None:
            old = old.where(Delivery.received_at >= since)
        rows = connection.execute(old.order_by(Delivery.received_at).limit(BATCH)).all()
        if rows:
            emptied = update(Delivery).where(Delivery.id.in_([row.id for row in rows]))
            connection.execute(emptied.values(body=b""))
            _note_emptied(connection, rows[-1].received_at)
        return len(rows)

    def _empty_rejections(self, connection: Connection) -> int:
        # Rejected requests have payloads too; without one they cannot be reverified.
        before = db_now(-self._settings.retain_payload_days * DAY_SECONDS)
        is_old = and_(Rejection.received_at < before, Rejection.body.is_not(None))
        old = select(Rejection.id).where(is_old).limit(BATCH)
        emptied = update(Rejection).where(Rejection.id.in_(old)).values(body=None)
        return connection.execute(emptied).rowcount

    def _empty_late(self, connection: Connection) -> int:
        # Events such as `bot.log` are stored but never applied, so applying misses them.
        return empty_late_bodies(connection, BATCH)

    def _delete_attempts(self, connection: Connection) -> int:
        before = db_now(-self._settings.retain_attempt_days * DAY_SECONDS)
        old = select(LinkAttempt.id).where(LinkAttempt.finished_at < before).limit(BATCH)
        return connection.execute(delete(LinkAttempt).where(LinkAttempt.id.in_(old))).rowcount

    def _delete_relink_batches(self, connection: Connection) -> int:
        # The bots first, some at a time: a batch without them counts none.
        member = RelinkBatchBot
        before = db_now(-self._settings.retain_attempt_days * DAY_SECONDS)
        old = select(RelinkBatch.id).where(RelinkBatch.at < before)
        some = select(member.batch_id, member.bot_id).where(member.batch_id.in_(old)).limit(BATCH)
        keys = [tuple(row) for row in connection.execute(some)]
        if keys:
            theirs = tuple_(member.batch_id, member.bot_id).in_(keys)
            return connection.execute(delete(member).where(theirs)).rowcount
        return connection.execute(delete(RelinkBatch).where(RelinkBatch.id.in_(old))).rowcount

    def _delete_events(self, connection: Connection) -> int:
        # Whole: an event is nothing but its data. Who reads the feed has had as long as this.
        before = db_now(-self._settings.retain_payload_days * DAY_SECONDS)
        old = select(Event.id).where(Event.created_at < before).order_by(Event.created_at)
        ids = list(connection.scalars(old.limit(BATCH)))
        if ids:
            for table, column in _BY_EVENT:
                connection.execute(delete(table).where(column.in_(ids)))
        return len(ids)

    def _delete_event_attempts(self, connection: Connection) -> int:
        before = db_now(-self._settings.retain_attempt_days * DAY_SECONDS)
        old = select(EventAttempt.id).where(EventAttempt.at < before).limit(BATCH)
        return connection.execute(delete(EventAttempt).where(EventAttempt.id.in_(old))).rowcount

    def _delete_tokens(self, connection: Connection) -> int:
        # Expired tokens are never read; deleted so that no secret is kept longer than needed.
        key = CalendarToken.external_id_hash
        old = select(key).where(CalendarToken.expires_at < db_now()).limit(BATCH)
        return connection.execute(delete(CalendarToken).where(key.in_(old))).rowcount

    def _delete_connect_links(self, connection: Connection) -> int:
        # A day after it expired: by then nobody is on a provider's page any more.
        key = ConnectLink.link_hash
        old = select(key).where(ConnectLink.expires_at < db_now(-DAY_SECONDS)).limit(BATCH)
        return connection.execute(delete(ConnectLink).where(key.in_(old))).rowcount

    def _delete_missed_meetings(self, connection: Connection) -> int:
        key = MissedMeeting.meeting_id
        before = db_now(-MISSED_DAYS * DAY_SECONDS)
        old = select(key).where(MissedMeeting.found_at < before).limit(BATCH)
        return connection.execute(delete(MissedMeeting).where(key.in_(old))).rowcount

    def _delete_findings(self, connection: Connection) -> int:
        # Usually the next check does; not where a calendar cannot be read any more.
        over = CalendarFinding.ends_at < db_now(-FINDING_DAYS * DAY_SECONDS)
        return connection.execute(delete(CalendarFinding).where(over)).rowcount


def _emptied_until(connection: Connection) -> datetime | None:
    noted = select(WorkspaceState.value, db_now().label("now"))
    row = connection.execute(noted.where(WorkspaceState.key == BODIES_EMPTIED)).one_or_none()
    until = utc_time(row.value.get("until")) if row else None
    # A time in the future would keep payloads for ever.
    return until if row and until and until <= row.now else None


def _note_emptied(connection: Connection, until: datetime) -> None:
    write_state(connection, BODIES_EMPTIED, {"until": until.isoformat()}, until)
