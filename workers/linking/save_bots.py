"""Verdicts into the database: each write names its lease, and a lost lease writes nothing."""

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
from workers.linking.outcome import Verdict, judge
from workers.linking.save_links import Row, write_links, write_meetings
from workers.linking.types import LinkResult
from workers.privacy.redact import redact_bots
from workers.privacy.tombstones import erased_among
from workers.recall_api.errors import Endpoint, Fault, RecallError

ERROR_LIMIT = 600

logger = structlog.stdlib.get_logger(__name__)


def settle(connection: Connection, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Write the verdicts whose lease still holds; return those. The caller commits."""
    # First, and under lock: a worker that was frozen past its lease must write nothing at all.
    held = _still_held(connection, verdicts)
    if held:
        connection.execute(_bot_update(), [_bot_row(verdict) for verdict in held])
        # Asked here, by the transaction that writes: whoever was erased a moment ago counts.
        erased = erased_among(connection, _whose(held))
        write_meetings(connection, [m for v in held for m in v.meetings], erased)
        write_links(connection, held, erased)
        if erased:
            redact_bots(connection, [verdict.result.claim.bot_id for verdict in held])
        rows = [_attempt_row(verdict) for verdict in held]
        connection.execute(_attempts_insert(), rows)
    return held


def log_settled(verdicts: Sequence[Verdict]) -> None:
    """Say in one line each how these bots were settled; for after the commit."""
    for verdict in verdicts:
        calls = verdict.result.calls
        logger.info(
            "settled",
            bot_id=verdict.result.claim.bot_id,
            outcome=verdict.outcome,
            error=verdict.error,
            meetings=len(verdict.open_refs),
            calls=len(calls),
            ms=sum(call.ms for call in calls),
        )


def settle_one_by_one(connection: Connection, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Settle each in a savepoint; one that the database refuses is settled as a failed try."""
    return [held for verdict in verdicts for held in _settle_alone(connection, verdict)]


def _settle_alone(connection: Connection, verdict: Verdict) -> list[Verdict]:
    try:
        with connection.begin_nested():
            return settle(connection, [verdict])
    except Exception as error:
        if not is_bad_row(error):
            raise
        logger.exception("result cannot be stored", bot_id=verdict.result.claim.bot_id)
        return settle(connection, [judge(_unstorable(verdict.result, error))])


def _unstorable(result: LinkResult, error: Exception) -> LinkResult:
    # As a failed try it backs off for three days, so that a mended release still gets its chance.
    failure = RecallError(Fault.INTERNAL, Endpoint.BOT, detail=type(error).__name__)
    return replace(result, failure=failure, bot=None, fetched=(), kept=())


def _still_held(connection: Connection, verdicts: Sequence[Verdict]) -> list[Verdict]:
    # Locked until commit: what is ours here is ours when it is written.
    leases = [v.result.claim.lease for v in verdicts]
    # By both: of one bot there may be two results here, of a lease that we lost and the next one.
    found = {(bot_id, token) for bot_id, token in connection.execute(_ours(), {"leases": leases})}
    for lease in leases:
        if lease not in found:
            logger.warning("lease lost, result dropped", bot_id=lease[0])
    held = [v for v, lease in zip(verdicts, leases, strict=True) if lease in found]
    # In the order they were locked, as every writer of bots does.
    return sorted(held, key=lambda v: v.result.claim.bot_id)


@cache
def _ours() -> Select[str, str | None]:
    is_ours = tuple_(Bot.id, Bot.lease_token).in_(bindparam("leases", expanding=True))
    return select(Bot.id, Bot.lease_token).where(is_ours).order_by(Bot.id).with_for_update()


@cache
def _bot_update() -> Update:
    def given(name: str, kind: Any) -> BindParameter[Any]:
        return bindparam(f"new_{name}", type_=kind)

    # An event that landed in mid-link raised due_seq and owes the bot anew: that debt must stand.
    is_same_reason = Bot.due_seq == given("seq", Integer())
    link_state = func.coalesce(given("link_state", String()), Bot.link_state)
    reopened = case((link_state == "failed", "pending"), else_=link_state)
    is_fetched = is_same_reason & given("is_fetched", Boolean())
    # Recall clears some of these days after the call; what was seen is worth keeping.
    kept = {
        name: func.coalesce(given(name, kind), getattr(Bot, name))
        for name, kind in (
            ("meeting_url", Json),
            ("meeting_platform", String()),
            ("bot_name", String()),
            ("bot_metadata", Json),
        )
    }
    return (
        update(Bot)
        .where(Bot.id == given("bot_id", String()), Bot.lease_token == given("lease", String()))
        .values(
            {
                **kept,
                "link_state": case((is_same_reason, link_state), else_=reopened),
                "due_at": case(
                    (is_same_reason, db_now(given("due_in", Float()))), else_=Bot.due_at
                ),
                "attempts": case(
                    (is_same_reason, Bot.attempts + given("is_attempt", Integer())),
                    else_=Bot.attempts,
                ),
                "fetched_at": case(
                    (is_fetched, given("claimed_at", UtcDateTime())), else_=Bot.fetched_at
                ),
                "sealed_at": case(
                    (given("seals", Boolean()), func.coalesce(Bot.sealed_at, db_now())),
                    else_=Bot.sealed_at,
                ),
                "last_error": given("error", String()),
                "settled_at": db_now(),
                # An orderly end, whatever it came to: the crash that was counted at the claim did
                # not happen.
                "crashes": 0,
                "lease_token": null(),
                "lease_until": null(),
            }
        )
        .execution_options(synchronize_session=False)
    )


@cache
def _attempts_insert() -> Insert:
    return insert(LinkAttempt)


def _bot_row(verdict: Verdict) -> Row:
    claim, body = verdict.result.claim, verdict.result.bot
    return {
        "new_bot_id": claim.bot_id,
        "new_lease": claim.lease_token,
        "new_seq": claim.due_seq,
        "new_claimed_at": claim.claimed_at,
        "new_link_state": verdict.link_state,
        "new_due_in": verdict.due_in,
        "new_is_attempt": int(verdict.is_attempt),
        "new_is_fetched": body is not None,
        "new_seals": verdict.seals,
        "new_error": _error(verdict),
        "new_meeting_url": body.meeting_url if body else None,
        "new_meeting_platform": body.meeting_platform if body else None,
        "new_bot_name": body.bot_name if body else None,
        "new_bot_metadata": body.metadata if body else None,
    }


def _whose(verdicts: Sequence[Verdict]) -> Iterator[str | None]:
    for verdict in verdicts:
        yield from (ref.external_id for ref in verdict.open_refs)
        yield from (meeting.ref.external_id for meeting in verdict.meetings)


def _error(verdict: Verdict) -> str | None:
    return storable(verdict.error, ERROR_LIMIT) if verdict.error else None


def _attempt_row(verdict: Verdict) -> Row:
    result = verdict.result
    return {
        "bot_id": result.claim.bot_id,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
        "outcome": verdict.outcome,
        "error": _error(verdict),
        "calls": [call.as_json() for call in result.calls],
    }
