"""The queries of the lists, each ordered for keyset paging, the newest first."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    func,
    literal_column,
    null,
    select,
)

from models.core.sanitize import uuid_range
from models.queries.failures.failing import (
    FAILING_STATES,
    OVERDUE_SECONDS,
    has_reason,
    is_failing,
    is_in_progress,
)
from models.queries.filters import (
    BotFilter,
    DeliveryFilter,
    Filter,
    LinkFilter,
    RecordingFilter,
    RejectionFilter,
)
from models.queries.metadata_filter import HasMetadata
from models.queries.pagination import Listing, Query
from models.queries.rows import BotRow, DeliveryRow, LinkRow, RecordingRow, RejectionRow
from models.queries.title_search import filter_by_title
from models.queries.views import BOT_LINKS, DELIVERY_LOG, RECORDING_LOG
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import MeetingPerson
from models.tables.rejection import Rejection


def links(wanted: LinkFilter, dialect: str) -> Listing[LinkRow]:
    """List links, the newest first; filtered by title or time, the latest meeting first."""
    columns = BOT_LINKS.c
    query = _links(wanted, dialect)
    if wanted.title:
        query, order = filter_by_title(query, wanted.title, dialect)
        return Listing(_between(query, order[0], wanted.since, wanted.until), order, LinkRow)
    query = _between(query, columns.meeting_start, wanted.since, wanted.until)
    return Listing(query, (_link_order(wanted), columns.bot_id, columns.meeting_id), LinkRow)


def _link_order(wanted: LinkFilter) -> ColumnElement[Any]:
    # Order by the index that the filter uses; otherwise a page would sort all matches.
    if wanted.since or wanted.until:
        return BOT_LINKS.c.meeting_start
    return BOT_LINKS.c.updated_at if wanted.changed_since else BOT_LINKS.c.linked_at


def _links(wanted: LinkFilter, dialect: str) -> Query:
    query: Query = select(BOT_LINKS).where(*_equal(wanted, _LINK_COLUMNS))
    query = query.where(*_equal(wanted, _LINK_BOT_COLUMNS[dialect == "sqlite"]))
    if wanted.email:
        # A join would repeat the meeting for each of its people.
        meetings = select(MeetingPerson.meeting_id).where(MeetingPerson.email == wanted.email)
        query = query.where(BOT_LINKS.c.meeting_id.in_(meetings))
    query = _between(query, BOT_LINKS.c.updated_at, wanted.changed_since, None)
    if wanted.metadata:
        query = query.where(HasMetadata(BOT_LINKS.c.bot_metadata, wanted.metadata))
    return query.where(BOT_LINKS.c.ended_at.is_(None)) if wanted.current else query


def bots(wanted: BotFilter) -> Listing[BotRow]:
    """List bots, the most recently first seen at the top."""
    query: Query = select(*BOT_COLUMNS).where(*_equal(wanted, _BOT_COLUMNS))
    if wanted.link_state in ("unlinked", "failing"):
        # With a parameter, the planner could not match the predicate of the partial index.
        query = query.where(Bot.link_state != literal_column("'linked'"))
    elif wanted.link_state:
        query = query.where(Bot.link_state == wanted.link_state)
    if wanted.metadata:
        query = query.where(HasMetadata(_column(Bot.bot_metadata), wanted.metadata))
    query = _between(query.where(*_stuck(wanted)), Bot.first_seen_at, wanted.since, wanted.until)
    # Of the few that are due, by the index that has no others.
    is_of_due = wanted.due or wanted.overdue or wanted.in_progress
    first = Bot.due_at if is_of_due else Bot.first_seen_at
    return Listing(query, (_column(first), _column(Bot.id)), BotRow)


def _stuck(wanted: BotFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.due:
        yield Bot.due_at <= db_now()
    if wanted.overdue:
        yield Bot.due_at <= db_now(-OVERDUE_SECONDS)
    if wanted.in_progress:
        yield is_in_progress()
    if wanted.link_state == "failing":
        yield is_failing()
    if wanted.error is not None:
        yield has_reason(wanted.error)
        yield Bot.link_state.in_(FAILING_STATES)


def deliveries(wanted: DeliveryFilter) -> Listing[DeliveryRow]:
    """List deliveries, the latest first."""
    columns = DELIVERY_LOG.c
    query: Query = select(DELIVERY_LOG).where(*_equal(wanted, _DELIVERY_COLUMNS))
    if wanted.unapplied:
        # As the predicate of the partial index has it: with a parameter, it would not match.
        accepted: ColumnElement[str] = literal_column("'accepted'")
        query = query.where(columns.applied_at.is_(None), columns.outcome == accepted)
    query = _between(query, columns.received_at, wanted.since, wanted.until)
    return Listing(query, (columns.received_at, columns.delivery_id), DeliveryRow)


def recordings(wanted: RecordingFilter) -> Listing[RecordingRow]:
    """List recordings, the most recently seen first; filtered by expiry, the last to expire."""
    columns = RECORDING_LOG.c
    query: Query = select(RECORDING_LOG).where(*_equal(wanted, _RECORDING_COLUMNS))
    query = _between(query, columns.seen_at, wanted.since, wanted.until)
    query = _between(query, columns.expires_at, wanted.expires_since, wanted.expires_until)
    is_by_expiry = wanted.expires_since or wanted.expires_until
    first = columns.expires_at if is_by_expiry else columns.seen_at
    return Listing(query, (first, columns.recording_id), RecordingRow)


def rejections(wanted: RejectionFilter) -> Listing[RejectionRow]:
    """List refused requests, the latest first."""
    columns = (
        Rejection.id,
        Rejection.received_at,
        Rejection.reason,
        Rejection.remote_addr,
        Rejection.message_id,
        Rejection.resolved_at,
    )
    query: Query = select(*columns)
    if wanted.message_id is not None:
        query = query.where(Rejection.message_id == wanted.message_id)
    if wanted.unresolved:
        query = query.where(Rejection.resolved_at.is_(None))
    query = _between(query, Rejection.received_at, wanted.since, wanted.until)
    return Listing(query, (_column(Rejection.received_at), _column(Rejection.id)), RejectionRow)


BOT_COLUMNS = (
    Bot.id,
    Bot.status,
    Bot.sub_code,
    Bot.status_at,
    Bot.link_state,
    Bot.due_at,
    Bot.attempts,
    Bot.crashes,
    Bot.last_error,
    Bot.bot_name,
    Bot.meeting_platform,
    Bot.first_seen_at,
    Bot.fetched_at,
    Bot.settled_at,
    Bot.recorded,
    Bot.recorded_from,
    Bot.recorded_until,
    Bot.ended_sub_code,
    Bot.bot_metadata,
    Bot.owed_since,
    Bot.lease_until,
)
_LINK_COLUMNS = {
    "bot_id": BOT_LINKS.c.bot_id,
    "meeting_id": BOT_LINKS.c.meeting_id,
    "external_id": BOT_LINKS.c.external_id,
    "ical_uid": BOT_LINKS.c.ical_uid,
    "meeting_key": BOT_LINKS.c.meeting_key,
    "platform": BOT_LINKS.c.meeting_platform,
}
_OF_BOTS = {
    "status": BOT_LINKS.c.bot_status,
    "recorded": BOT_LINKS.c.recorded,
    "sub_code": BOT_LINKS.c.ended_sub_code,
    "link_state": BOT_LINKS.c.link_state,
}
# SQLite knows of no value how common it is: by the bots' index it would sort every link of them.
_LINK_BOT_COLUMNS = (
    _OF_BOTS,
    {name: func.ifnull(one, null(), type_=one.type) for name, one in _OF_BOTS.items()},
)
_DELIVERY_COLUMNS = {
    "bot_id": DELIVERY_LOG.c.bot_id,
    "message_id": DELIVERY_LOG.c.delivery_id,
    "outcome": DELIVERY_LOG.c.outcome,
}
_RECORDING_COLUMNS = {
    "bot_id": RECORDING_LOG.c.bot_id,
    "status": RECORDING_LOG.c.recording_status,
    "transcript_status": RECORDING_LOG.c.transcript_status,
}
_BOT_COLUMNS: Mapping[str, Any] = {
    "bot_id": Bot.id,
    "status": Bot.status,
    "recorded": Bot.recorded,
    "sub_code": Bot.ended_sub_code,
}


def _column(attribute: Any) -> ColumnElement[Any]:
    expression: ColumnElement[Any] = attribute.expression
    return expression


def _equal(
    wanted: Filter, columns: Mapping[str, ColumnElement[Any]]
) -> Iterator[ColumnElement[bool]]:
    for name, one in columns.items():
        if (value := getattr(wanted, name)) is not None:
            yield one == value if name != "bot_id" else _is_bot(one, value)


def _is_bot(column: ColumnElement[Any], asked: str) -> ColumnElement[bool]:
    # For a whole id, equality lets an index also order by its next column.
    found = uuid_range(asked)
    if found is None or found[0] == found[1]:
        return column == asked
    return column.between(*found)


def _between(query: Query, time: Any, since: datetime | None, until: datetime | None) -> Query:
    if since is not None:
        query = query.where(time >= since)
    return query if until is None else query.where(time < until)
