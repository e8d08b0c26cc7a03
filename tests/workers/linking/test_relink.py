"""Bots put back: due again, whole and staggered, whatever they were."""

from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import Engine

from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.bot import Bot
from tests.conftest import MakeContext
from tests.lab.recall import FakeRecall
from tests.support.rows import add_bot, add_delivery, bot_row, rows
from workers.db.audit import audit
from workers.linking.drain import Drain
from workers.linking.relink import STAGGER_SECONDS, relink
from workers.shutdown import Stop

IDS = [str(UUID(int=n, version=4)) for n in range(6)]


def test_a_staggered_batch_falls_due_one_after_the_other(engine: Engine) -> None:
    """From the second asked for on; unknown ones count for nothing."""
    for bot_id in IDS[:4]:
        add_bot(engine, bot_id, due_at=None, attempts=3, crashes=2, due_seq=7)
    with engine.begin() as connection:
        assert relink(connection, IDS, first_in=100.0) == 4
    found = rows(engine, Bot)
    times = [row.due_at for row in found]
    gaps = [(b - a).total_seconds() for a, b in pairwise(times)]
    # Each row is told by the clock of its own moment: a busy machine widens a gap, none narrows it.
    assert all(STAGGER_SECONDS - 0.01 <= gap < STAGGER_SECONDS + 10 for gap in gaps)
    assert 95 < (times[0] - datetime.now(UTC)).total_seconds() < 101
    # A bot that waits for its turn is not late: the limits of a retry run from there too.
    assert [row.owed_since for row in found] == times
    assert {(row.attempts, row.crashes, row.due_seq) for row in found} == {(0, 0, 8)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("failed", "pending"),
        ("linked", "linked"),
        ("no_meetings", "no_meetings"),
        ("partial", "partial"),
        ("pending", "pending"),
    ],
)
def test_a_failure_is_forgotten_and_a_link_is_not(engine: Engine, before: str, after: str) -> None:
    """What is known stays true until the look-up says otherwise."""
    add_bot(engine, IDS[0], link_state=before, due_at=None)
    with engine.begin() as connection:
        relink(connection, IDS[:1])
    row = bot_row(engine, IDS[0])
    assert row.link_state == after
    assert row.due_at is not None


def test_a_bot_in_a_workers_hand_is_looked_up_once_more(engine: Engine) -> None:
    """Its lease is left alone; the raised count of reasons leaves it due after the settle."""
    add_bot(engine, IDS[0], lease_token="held", lease_until=db_now(60), due_seq=1)
    with engine.begin() as connection:
        relink(connection, IDS[:1])
    row = bot_row(engine, IDS[0])
    assert (row.lease_token, row.due_seq) == ("held", 2)


def test_a_relink_fetches_everything_again(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """The bot and each of its meetings, though none has moved."""
    first = recall.build.meeting(recall.build.user())
    bot = recall.build.bot([first, recall.build.copy(first, recall.build.user())])
    add_delivery(engine, bot.id, "done")
    Drain(make_context(), Stop()).run()
    recall.calls.clear()
    with engine.begin() as connection:
        relink(connection, [bot.id])
    Drain(make_context(), Stop()).run()
    assert len(recall.calls.all("bot/{id}")) == 1
    assert len(recall.calls.all("calendar/meetings/{id}")) == 2
    row = bot_row(engine, bot.id)
    assert (row.link_state, row.due_at) == ("linked", None)


def test_a_change_is_noted_with_who_and_what(engine: Engine) -> None:
    """By the database's clock."""
    with engine.begin() as connection:
        audit(connection, "cli ada", "relink", IDS[0], {"relinked": 1})
    (row,) = rows(engine, Audit)
    assert (row.actor, row.action, row.subject) == ("cli ada", "relink", IDS[0])
    assert row.details == {"relinked": 1}
