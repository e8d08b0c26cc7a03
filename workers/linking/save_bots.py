"""Saves outcomes: each write names its lease, and a lost lease writes nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import structlog
from sqlalchemy import (
    BindParameter,
    Boolean,
    Connection,
    Float,
    Insert,
    Integer,
    Select,
    String,
    Update,
    bindparam,
    case,
    func,
    insert,
    null,
    select,
    tuple_,
    update,
)

from models.core.database_errors import is_bad_row
from models.core.sanitize import storable
from models.tables.base import Json, UtcDateTime, db_now
from models.tables.bot import Bot
from models.tables.link import LinkAttempt
from workers.linking.outcome import LinkOutcome, outcome_of
from workers.linking.save_links import Row, write_links, write_meetings
from workers.linking.types import LinkResult
from workers.outbox.ended import report_ended
from workers.outbox.links import watch_links
from workers.privacy.redact import redact_bots
from workers.privacy.tombstones import erased_among
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recordings.bot_outcomes import refresh_outcomes
from workers.recordings.events import Change, report_ready
from workers.recordings.write import save_recordings

ERROR_LIMIT = 600

logger = structlog.stdlib.get_logger(__name__)


def save_outcomes(connection: Connection, outcomes: Sequence[LinkOutcome]) -> list[LinkOutcome]:
    """Save the outcomes whose lease is still held; returns those. The caller commits."""
    # First, and with the rows locked: a worker whose lease has expired must write nothing.
    held = _still_held(connection, outcomes)
    if held:
        bots = [outcome.result.claim.bot_id for outcome in held]
        meetings = {meeting.ref.meeting_id for outcome in held for meeting in outcome.meetings}
        # Before the watched block, which redacts them too.
        connection.execute(_attempts_insert(), [_attempt_row(outcome) for outcome in held])
        with watch_links(connection, bot_ids=bots, meeting_ids=meetings):
            recordings = _write(connection, held)
        report_ready(connection, recordings)
        report_ended(connection, [o.result.claim.bot_id for o in held if _is_over(o)])
    return held


def _write(connection: Connection, held: Sequence[LinkOutcome]) -> list[Change]:
    connection.execute(_bot_update(), [_bot_row(outcome) for outcome in held])
    # In the transaction that writes, so that it sees a user who was erased a moment ago.
    erased = erased_among(connection, _external_ids(held))
    meetings = [meeting for outcome in held for meeting in outcome.meetings]
    write_meetings(connection, meetings, erased)
    write_links(connection, held, erased)
    bodies = {o.result.claim.bot_id: o.result.bot for o in held if o.result.bot}
    recordings = save_recordings(connection, {key: one.recordings for key, one in bodies.items()})
    statuses = {key: one.statuses for key, one in bodies.items()}
    refresh_outcomes(connection, [outcome.result.claim.bot_id for outcome in held], statuses)
    # Also where this answer names nobody: a bot of erased people is known by its links on file.
    redact_bots(connection, [outcome.result.claim.bot_id for outcome in held])
    return recordings


def _is_over(outcome: LinkOutcome) -> bool:
    return outcome.result.claim.is_terminal and outcome.due_in is None


def log_saved(outcomes: Sequence[LinkOutcome]) -> None:
    """Log one line for each saved bot; call it after the commit."""
    for outcome in outcomes:
        calls = outcome.result.calls
        logger.info(
            "settled",
            bot_id=outcome.result.claim.bot_id,
            outcome=outcome.attempt_outcome,
            error=outcome.error,
            meetings=len(outcome.open_refs),
            calls=len(calls),
            ms=sum(call.ms for call in calls),
        )


def save_one_by_one(connection: Connection, outcomes: Sequence[LinkOutcome]) -> list[LinkOutcome]:
    """Save each in a savepoint; one that the database refuses is saved as a failed attempt."""
    return [held for outcome in outcomes for held in _save_alone(connection, outcome)]


def _save_alone(connection: Connection, outcome: LinkOutcome) -> list[LinkOutcome]:
    try:
        with connection.begin_nested():
            return save_outcomes(connection, [outcome])
    except Exception as error:
        if not is_bad_row(error):
            raise
        logger.exception("outcome cannot be saved", bot_id=outcome.result.claim.bot_id)
        return save_outcomes(connection, [outcome_of(_unstorable(outcome.result, error))])


def _unstorable(result: LinkResult, error: Exception) -> LinkResult:
    # A failed attempt is retried for three days, in which a release may fix the bug.
    failure = RecallError(Fault.INTERNAL, Endpoint.BOT, detail=type(error).__name__)
    return replace(result, failure=failure, bot=None, fetched=(), kept=())


def _still_held(connection: Connection, outcomes: Sequence[LinkOutcome]) -> list[LinkOutcome]:
    # The rows stay locked until the commit, so the leases cannot be lost in between.
    leases = [outcome.result.claim.lease for outcome in outcomes]
    # By bot and token: one bot may have two results here, of a lost lease and of the next one.
    found = {(bot_id, token) for bot_id, token in connection.execute(_ours(), {"leases": leases})}
    for lease in leases:
        if lease not in found:
            logger.warning("lease lost, result discarded", bot_id=lease[0])
    held = [one for one, lease in zip(outcomes, leases, strict=True) if lease in found]
    # In the order of the locks, as all writers of bots do.
    return sorted(held, key=lambda outcome: outcome.result.claim.bot_id)


@cache
def _ours() -> Select[str, str | None]:
    is_ours = tuple_(Bot.id, Bot.lease_token).in_(bindparam("leases", expanding=True))
    return select(Bot.id, Bot.lease_token).where(is_ours).order_by(Bot.id).with_for_update()


def _given(name: str, kind: Any) -> BindParameter[Any]:
    return bindparam(f"new_{name}", type_=kind)


# Recall clears some of these days after the call; we keep what we saw.
_KEPT = {
    "meeting_url": Json,
    "meeting_platform": String(),
    "bot_name": String(),
    "bot_metadata": Json,
}


@cache
def _bot_update() -> Update:
    # An event that arrived while we linked has raised due_seq: the bot must stay due.
    is_same_reason = Bot.due_seq == _given("seq", Integer())
    link_state = func.coalesce(_given("link_state", String()), Bot.link_state)
    reopened = case((link_state == "failed", "pending"), else_=link_state)
    is_fetched = is_same_reason & _given("is_fetched", Boolean())
    tried = Bot.attempts + _given("is_attempt", Integer())
    sealed = func.coalesce(Bot.sealed_at, db_now())
    values = {
        **{
            name: func.coalesce(_given(name, kind), getattr(Bot, name))
            for name, kind in _KEPT.items()
        },
        "link_state": case((is_same_reason, link_state), else_=reopened),
        "due_at": case((is_same_reason, db_now(_given("due_in", Float()))), else_=Bot.due_at),
        "attempts": case((is_same_reason, tried), else_=Bot.attempts),
        "fetched_at": case((is_fetched, _given("claimed_at", UtcDateTime())), else_=Bot.fetched_at),
        "sealed_at": case((_given("seals", Boolean()), sealed), else_=Bot.sealed_at),
        "last_error": _given("error", String()),
        "settled_at": db_now(),
        # Claiming counts a crash in advance; there was none.
        "crashes": 0,
        "lease_token": null(),
        "lease_until": null(),
    }
    is_held = (Bot.id == _given("bot_id", String())) & (
        Bot.lease_token == _given("lease", String())
    )
    return update(Bot).where(is_held).values(values).execution_options(synchronize_session=False)


@cache
def _attempts_insert() -> Insert:
    return insert(LinkAttempt)


def _bot_row(outcome: LinkOutcome) -> Row:
    claim, body = outcome.result.claim, outcome.result.bot
    return {
        "new_bot_id": claim.bot_id,
        "new_lease": claim.lease_token,
        "new_seq": claim.due_seq,
        "new_claimed_at": claim.claimed_at,
        "new_link_state": outcome.link_state,
        "new_due_in": outcome.due_in,
        "new_is_attempt": int(outcome.is_attempt),
        "new_is_fetched": body is not None,
        "new_seals": outcome.seals,
        "new_error": _error(outcome),
        "new_meeting_url": body.meeting_url if body else None,
        "new_meeting_platform": body.meeting_platform if body else None,
        "new_bot_name": body.bot_name if body else None,
        "new_bot_metadata": body.metadata if body else None,
    }


def _external_ids(outcomes: Sequence[LinkOutcome]) -> Iterator[str | None]:
    for outcome in outcomes:
        yield from (ref.external_id for ref in outcome.open_refs)
        yield from (meeting.ref.external_id for meeting in outcome.meetings)


def _error(outcome: LinkOutcome) -> str | None:
    return storable(outcome.error, ERROR_LIMIT) if outcome.error else None


def _attempt_row(outcome: LinkOutcome) -> Row:
    result = outcome.result
    return {
        "bot_id": result.claim.bot_id,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
        "outcome": outcome.attempt_outcome,
        "error": _error(outcome),
        "calls": [call.as_json() for call in result.calls],
    }
