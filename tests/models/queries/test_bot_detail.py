"""Everything known about one bot, and its timeline."""

from datetime import datetime

import pytest
from sqlalchemy import Engine, insert

from models.queries.bot_detail import MAX_ROWS, explain, has_delivery
from models.queries.rows import AttemptRow, CallRow, DeliveryRow, EventLine, Explained, StatusRow
from models.queries.timeline import timeline
from models.tables.base import db_now
from models.tables.bot import BotStatus
from models.tables.link import LinkAttempt
from tests.conftest import MakeContext
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.models.queries.alarms.test_alerts import an_open_circuit
from tests.models.queries.test_link_summary import a_bot
from tests.support.bulk_data import bot_id, populate
from tests.support.fakes import BOT
from tests.support.ids import new_id
from tests.support.rows import add_bot, add_delivery, later, set_bot
from workers.linking.drain import Drain
from workers.shutdown import Stop


def explained(engine: Engine, bot: str) -> Explained:
    """Read one bot that exists."""
    with engine.connect() as connection:
        found = explain(connection, bot)
    assert found is not None
    return found


def test_a_bot_without_deliveries_is_unknown(engine: Engine) -> None:
    """A delivery that is not applied yet makes it known."""
    with engine.connect() as connection:
        assert explain(connection, BOT) is None
        assert not has_delivery(connection, BOT)
    add_delivery(engine, BOT, "done")
    with engine.connect() as connection:
        assert has_delivery(connection, BOT)


def test_only_the_bots_own_rows_are_read(engine: Engine) -> None:
    """Among sixty other bots."""
    populate(engine, 60)
    found = explained(engine, bot_id(20))
    assert {row.bot_id for row in found.deliveries} == {bot_id(20)}
    assert (len(found.deliveries), len(found.statuses)) == (2, 2)
    assert (len(found.attempts), len(found.links)) == (1, 1)


def test_each_attempt_is_shown_with_its_calls(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """A failed attempt and a successful one, with the status and duration of each call."""
    bot = recall.build.bot([recall.build.meeting(recall.build.user())])
    recall.faults.add(Fault(path="bot/{id}", times=1, status=503))
    add_delivery(engine, bot.id, "joining_call", copies=3)
    Drain(make_context(), Stop()).run()
    first = explained(engine, bot.id)
    assert first.why.startswith("Not linked yet: Recall had an internal error (http_503: bot/{id}")
    assert timeline(first)[-1].kind == "next"
    set_bot(engine, bot.id, due_at=db_now(-1))
    Drain(make_context(), Stop()).run()
    found = explained(engine, bot.id)
    assert found.why.startswith("Linked to 1 meeting. The bot recorded for ")
    failed, linked = found.attempts
    assert (failed.outcome, linked.outcome) == ("retry", "linked")
    assert [(call.path, call.status) for call in failed.calls] == [("bot/{id}", 503)]
    assert [(call.path, call.status) for call in linked.calls] == [
        ("bot/{id}", 200), ("calendar/authenticate", 200), ("calendar/meetings/{id}", 200),
    ]  # fmt: skip
    assert all(0 <= call.ms < 60_000 for call in linked.calls)


def test_an_open_circuit_is_shown_with_the_bot(engine: Engine) -> None:
    """Because an operator looks there first."""
    add_bot(engine, BOT)
    an_open_circuit(engine, 240)
    assert "Recall refuses all requests (http_401)" in explained(engine, BOT).why


@pytest.mark.parametrize("call", [{}, {"method": "GET", "from_a_newer": "release"}])
def test_calls_stored_by_another_release_are_shown(engine: Engine, call: dict[str, str]) -> None:
    """Missing and additional fields are no error."""
    add_bot(engine, BOT)
    times = {"started_at": db_now(), "finished_at": db_now()}
    row = {"bot_id": BOT, "outcome": "linked", "error": None, "calls": [call]}
    with engine.begin() as connection:
        connection.execute(insert(LinkAttempt).values(**times, **row))
    (attempt,) = explained(engine, BOT).attempts
    assert attempt.calls == [CallRow(call.get("method", ""), "", None, None, 0, None)]


def test_only_the_latest_rows_of_a_bot_are_read(engine: Engine) -> None:
    """Months of retries must not fill the page."""
    add_bot(engine, BOT)
    shown: dict[str, object] = {"bot_id": BOT, "outcome": "retry", "error": None, "calls": []}
    attempts = [
        {"started_at": later(n), "finished_at": later(n), **shown} for n in range(MAX_ROWS + 50)
    ]
    codes = [
        {"bot_id": BOT, "code": f"c{n}", "occurred_at": later(n)} for n in range(MAX_ROWS + 50)
    ]
    with engine.begin() as connection:
        connection.execute(insert(LinkAttempt), attempts)
        connection.execute(insert(BotStatus), codes)
    found = explained(engine, BOT)
    assert [row.started_at for row in found.attempts] == [later(n + 50) for n in range(MAX_ROWS)]
    assert [row.code for row in found.statuses] == [f"c{n + 50}" for n in range(MAX_ROWS)]


def test_the_timeline_is_sorted_and_ends_with_the_next_attempt() -> None:
    """At equal times, a delivery comes before its effects."""
    call = CallRow("GET", "bot/{id}", None, 200, 31, None)
    found = Explained(
        bot=a_bot("partial", due_at=later(900), last_error="http_503: bot/{id}"),
        why="",
        statuses=[StatusRow("done", "timeout", None, later(10), None)],
        deliveries=[_delivery(later(10), copies=2), _delivery(later(5), copies=1)],
        attempts=[AttemptRow(1, later(10), later(11), "partial", "http_503", [call])],
        links=[],
        same_meeting=[],
        events=[EventLine("evt_1", "bot.ended", later(11), "delivered", 1, [])],
        recordings=[],
    )
    moments = timeline(found)
    assert [(moment.kind, moment.at) for moment in moments] == [
        ("delivery", later(5)),
        ("delivery", later(10)),
        ("status", later(10)),
        ("attempt", later(10)),
        ("event", later(11)),
        ("next", later(900)),
    ]
    assert "arrived 2 times" in moments[1].notes
    assert (moments[3].ms, moments[3].calls) == (1000, (call,))
    assert moments[5].notes == ("http_503: bot/{id}",)


def _delivery(received_at: datetime, copies: int) -> DeliveryRow:
    return DeliveryRow(
        f"msg_{new_id()}", "bot.done", "accepted", None, BOT, "done", None, None,
        received_at, copies, received_at,
    )  # fmt: skip
