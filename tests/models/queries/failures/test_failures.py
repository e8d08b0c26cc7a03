"""Failing bots by reason, on both databases: who counts, since when, and what to do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from models.queries.failures.error_messages import DESCRIPTIONS
from models.queries.failures.failing import UNKNOWN
from models.queries.failures.failure_remedies import FALLBACK, remedy_of
from models.queries.failures.failures import FailureFilter, FailureRow, failures
from models.queries.filters import BotFilter
from models.queries.lists import bots
from tests.support.ids import new_id
from tests.support.rows import add_bot
from workers.recall_api.errors import Endpoint, Fault, RecallError

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
BUSY = "http_503: bot/{id}: upstream: gone"


def groups(engine: Engine, **wanted: Any) -> dict[str, FailureRow]:
    """The failures by reason."""
    with engine.connect() as connection:
        listing = failures(FailureFilter(**wanted), connection.dialect.name)
        return {row.reason: row for row in listing.all(connection)}


def a_bot(engine: Engine, link_state: str, error: str | None, minutes: int = 0) -> str:
    """Add a bot that was owed some minutes after nine, and tried a minute later."""
    owed = NOW + timedelta(minutes=minutes)
    times = {"owed_since": owed, "settled_at": owed + timedelta(minutes=1), "due_at": None}
    bot = new_id()
    add_bot(engine, bot, link_state=link_state, last_error=error, **times)
    return bot


def test_failing_bots_are_counted_by_the_reason_of_their_last_error(engine: Engine) -> None:
    """In each state, from the first that was owed to the last that was tried, which is shown."""
    a_bot(engine, "failed", BUSY, 5)
    a_bot(engine, "partial", "http_503: calendar/meetings/{id}", 2)
    latest = a_bot(engine, "pending", "http_503", 9)
    a_bot(engine, "failed", None)
    a_bot(engine, "linked", BUSY)
    a_bot(engine, "no_meetings", None)
    found = groups(engine)
    assert set(found) == {"http_503", UNKNOWN}
    row = found["http_503"]
    assert (row.count, row.failed, row.partial, row.pending) == (3, 1, 1, 1)
    assert row.first_seen_at == NOW + timedelta(minutes=2)
    assert (row.last_seen_at, row.example_bot_id) == (NOW + timedelta(minutes=10), latest)
    assert row.remedy == remedy_of("http_503")
    assert set(groups(engine, since=NOW + timedelta(minutes=3))) == {"http_503"}


def test_a_bot_that_waits_for_its_turn_is_not_failing(engine: Engine) -> None:
    """Pending counts from five minutes on; one that is not to be looked up never does."""
    add_bot(engine, new_id(), owed_since=datetime.now(UTC) - timedelta(minutes=4))
    add_bot(engine, new_id(), owed_since=None, due_at=None)
    assert groups(engine) == {}


def test_a_reason_counts_the_bots_that_its_filter_lists(engine: Engine) -> None:
    """The page leads from each count to its bots, and to their retry."""
    for state in ("failed", "partial", "pending", "linked", "no_meetings"):
        for error in (BUSY, None, "http_5030", "timeout: bot/{id}"):
            a_bot(engine, state, error)
    add_bot(engine, new_id(), last_error=BUSY, owed_since=datetime.now(UTC))
    for reason, row in groups(engine).items():
        listing = bots(BotFilter(link_state="failing", error=reason))
        with engine.connect() as connection:
            assert listing.count(connection, 99) == row.count == 3, reason


@pytest.mark.parametrize("reason", sorted({*DESCRIPTIONS, UNKNOWN}))
def test_every_reason_with_a_description_has_a_remedy(reason: str) -> None:
    """Whoever adds one is reminded of the other."""
    assert remedy_of(reason) != FALLBACK


def test_whatever_recall_answers_has_a_remedy() -> None:
    """By the first digit of a status, and for anything else where to look."""
    for fault in Fault:
        assert remedy_of(RecallError(fault, Endpoint.BOT, status=418).reason) != FALLBACK
    assert remedy_of("http_302") != remedy_of("http_418") != remedy_of("http_599")
    assert remedy_of("never_seen") == FALLBACK
