"""The nightly reconcile: once for the whole fleet, in the drains' shadow, never doubled."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, update

from models.queries.alarms.alerts import alarms
from models.queries.reconcile import ReconcileRow, last_run
from models.queries.service_status import overview
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.reconcile_run import NIGHTLY, ReconcileRun
from models.tables.workspace_state import NIGHTLY_RECONCILE, WorkspaceState
from tests.conftest import MakeContext, MakeSettings
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.support.fakes import BOT
from tests.support.ids import new_id
from tests.support.rows import add_bot, count, rows
from webhook.doctor.reconcile import examine_reconcile
from workers.db.nightly import NightlySchedule
from workers.linking.backlog import PendingWork, look
from workers.linking.context import WorkerContext
from workers.recall_api.bot_list import BotListClient, BotPage, page_of
from workers.reconcile.nightly import WINDOW, NightlyReconcile, ReconcileTurn
from workers.shutdown import Stop


@pytest.fixture
def recall() -> Iterator[FakeRecall]:
    """A fake Recall of small pages."""
    with FakeRecall(limits=False, page_size=3) as recall:
        yield recall


@pytest.fixture
def context(make_context: MakeContext) -> WorkerContext:
    """A worker whose next night is half a day away, whenever a test runs."""
    return make_context(RECONCILE_AT=f"{(datetime.now(UTC).hour + 12) % 24:02}:30")


def schedule(context: WorkerContext) -> NightlySchedule[ReconcileTurn]:
    """The schedule that workers share."""
    at = context.settings.reconcile_at
    assert at is not None
    return NightlySchedule(NIGHTLY_RECONCILE, at, ReconcileTurn)


def claim(engine: Engine, context: WorkerContext) -> ReconcileTurn | None:
    """Claim a turn, as another worker would."""
    with engine.begin() as connection:
        return schedule(context).claim(connection)


def keep(engine: Engine, turn: dict[str, Any]) -> None:
    """Put this in place of the turn that is stored."""
    stored = update(WorkspaceState).where(WorkspaceState.key == NIGHTLY_RECONCILE)
    with engine.begin() as connection:
        connection.execute(stored.values(value=turn))


def ago(**times: float) -> datetime:
    """A moment of the past."""
    return datetime.now(UTC) - timedelta(**times)


@pytest.fixture
def turn(engine: Engine, context: WorkerContext) -> ReconcileTurn:
    """A night's turn, due and claimed: a deployment at noon only schedules it."""
    assert claim(engine, context) is None
    keep(engine, ReconcileTurn(ago(minutes=1)).as_json())
    claimed = claim(engine, context)
    assert claimed is not None
    return claimed


def nightly(context: WorkerContext, stop: Stop | None = None, wait: float = 0) -> NightlyReconcile:
    """Return what runs a turn, without its pace."""
    return NightlyReconcile(context, stop or Stop(), pace=0, longest_wait=wait)


def last(engine: Engine) -> ReconcileRow:
    """The last run, as the lists show it."""
    with engine.connect() as connection:
        found = last_run(connection)
    assert found is not None
    return found


def test_a_night_compares_the_last_26_hours_once(
    engine: Engine, recall: FakeRecall, context: WorkerContext, turn: ReconcileTurn
) -> None:
    """What webhooks missed is filled in, and the run says that nobody started it by hand."""
    bots = recall.build.populate(4)
    nightly(context).run(turn)
    run = last(engine)
    assert (run.state, run.started_by, run.bots_missed) == ("complete", NIGHTLY, 4)
    assert run.since is not None
    assert abs(run.started_at - run.since - WINDOW) < timedelta(seconds=2)
    assert {row.id for row in rows(engine, Bot)} == {bot.id for bot in bots}
    assert claim(engine, context) is None
    assert count(engine, ReconcileRun) == 1


def test_only_one_worker_has_a_night(
    engine: Engine, context: WorkerContext, turn: ReconcileTurn
) -> None:
    """The others find it claimed; the next night is a day away at most."""
    assert claim(engine, context) is None
    assert turn.next_at == schedule(context).next_after(datetime.now(UTC))


def test_a_run_that_a_stop_cuts_off_is_resumed_by_another_worker(
    engine: Engine, recall: FakeRecall, context: WorkerContext, turn: ReconcileTurn
) -> None:
    """At once, where it stopped: one run, and nothing is counted twice."""
    recall.build.populate(7)
    stop = Stop()

    def stops(body: Any) -> Any:
        stop.request()
        return body

    with recall.faults.during(Fault(act="transform", path="bot", transform=stops)):
        nightly(context, stop).run(turn)
    assert (last(engine).state, last(engine).error) == ("interrupted", "stopped")
    again = claim(engine, context)
    assert again is not None
    nightly(context).run(again)
    run = last(engine)
    assert (run.state, run.bots_seen, run.bots_missed) == ("complete", 7, 7)
    assert count(engine, ReconcileRun) == 1


def test_a_run_whose_worker_died_is_resumed_after_its_lease(
    engine: Engine,
    recall: FakeRecall,
    context: WorkerContext,
    turn: ReconcileTurn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page that is late in coming from the dead is refused, and so doubles nothing."""
    recall.build.populate(7)
    read = BotListClient.page

    def late(client: BotListClient, path: str) -> BotPage:
        page = read(client, path)
        if page_of(path) == 2:
            monkeypatch.undo()
            with engine.begin() as connection:
                connection.execute(update(ReconcileRun).values(beat_at=db_now(-700)))
            keep(engine, ReconcileTurn(turn.next_at, ago(minutes=1), last(engine).run_id).as_json())
            again = claim(engine, context)
            assert again is not None
            nightly(context).run(again)
        return page

    monkeypatch.setattr(BotListClient, "page", late)
    assert nightly(context).run(turn) is None
    run = last(engine)
    assert (run.state, run.bots_seen, run.bots_missed) == ("complete", 7, 7)
    assert count(engine, ReconcileRun) == 1


def test_a_run_that_is_over_is_not_begun_again(
    engine: Engine, recall: FakeRecall, context: WorkerContext, turn: ReconcileTurn
) -> None:
    """Its worker died before it could release the turn."""
    nightly(context).run(turn)
    run_id = last(engine).run_id
    left = ReconcileTurn(turn.next_at, ago(minutes=1), run_id)
    keep(engine, left.as_json())
    again = claim(engine, context)
    assert again is not None
    recall.calls.clear()
    assert nightly(context).run(again) is None
    assert recall.calls.all() == []
    assert count(engine, ReconcileRun) == 1
    assert claim(engine, context) is None


def test_a_run_that_the_command_line_resumed_is_left_to_it(
    engine: Engine, recall: FakeRecall, context: WorkerContext, turn: ReconcileTurn
) -> None:
    """Its turn is tried again when the lease has ended."""
    recall.faults.add(Fault(path="bot", status=401))
    nightly(context).run(turn)
    with engine.begin() as connection:
        connection.execute(update(ReconcileRun).values(error=None, beat_at=db_now()))
    left = ReconcileTurn(turn.next_at, ago(minutes=1), last(engine).run_id)
    keep(engine, left.as_json())
    again = claim(engine, context)
    assert again is not None
    assert nightly(context).run(again) is None
    assert last(engine).state == "running"


def test_a_new_night_begins_a_new_run(
    engine: Engine, recall: FakeRecall, context: WorkerContext, turn: ReconcileTurn
) -> None:
    """One that could not be finished in its night is left as it is."""
    with recall.faults.during(Fault(path="bot", status=401)):
        nightly(context).run(turn)
    keep(engine, ReconcileTurn(ago(minutes=1), ago(minutes=1), last(engine).run_id).as_json())
    again = claim(engine, context)
    assert again is not None
    nightly(context).run(again)
    assert [run.error is None for run in rows(engine, ReconcileRun)] == [False, True]


def test_a_list_that_is_far_too_short_ends_no_alarm(
    engine: Engine,
    recall: FakeRecall,
    context: WorkerContext,
    turn: ReconcileTurn,
    make_settings: MakeSettings,
) -> None:
    """The run has a state of its own, and doctor says why."""
    recall.build.populate(1)
    nightly(context).run(turn)
    for _ in range(10):
        add_bot(engine, new_id(), link_state="linked", first_seen_at=ago(hours=3), due_at=None)
    keep(engine, ReconcileTurn(ago(minutes=1)).as_json())
    again = claim(engine, context)
    assert again is not None
    nightly(context).run(again)
    assert last(engine).state == "not_believed"
    with engine.connect() as connection:
        found = overview(connection)
        assert "webhooks_missed" in {alarm.name for alarm in alarms(connection, found)}
        seen = examine_reconcile(connection, make_settings(), found.at)
    assert seen.level == "warning"
    assert "not believed: list_too_short: Recall lists 1 bots where 11 are held" in seen.text


def test_no_page_is_read_while_bots_are_due(
    engine: Engine,
    recall: FakeRecall,
    context: WorkerContext,
    turn: ReconcileTurn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It looks again and again, here until a stop."""
    add_bot(engine, BOT)
    stop, looks = Stop(), []

    def looked(connection: Connection) -> PendingWork:
        looks.append(look(connection))
        if len(looks) == 3:
            stop.request()
        return looks[-1]

    monkeypatch.setattr("workers.reconcile.nightly.look", looked)
    nightly(context, stop, wait=60).run(turn)
    assert [pending.is_work for pending in looks] == [True] * 3
    assert (last(engine).state, recall.calls.all("bot")) == ("interrupted", [])


def test_a_fleet_that_is_never_idle_is_compared_too(
    engine: Engine, recall: FakeRecall, context: WorkerContext, turn: ReconcileTurn
) -> None:
    """Once a page has waited long enough."""
    recall.build.populate(1)
    add_bot(engine, BOT)
    nightly(context).run(turn)
    assert (last(engine).state, last(engine).bots_missed) == ("complete", 1)


def test_it_can_be_turned_off(engine: Engine, make_context: MakeContext) -> None:
    """Then no night is even scheduled."""
    assert not NightlyReconcile(make_context(RECONCILE_AT="off"), Stop()).start_when_due()
    assert count(engine, WorkspaceState) == 0


def test_a_poller_starts_it_in_a_thread(
    engine: Engine, recall: FakeRecall, context: WorkerContext, turn: ReconcileTurn
) -> None:
    """When it is due, and looks once a minute."""
    keep(engine, ReconcileTurn(ago(minutes=1)).as_json())
    one = nightly(context)
    assert one.start_when_due()
    assert not one.start_when_due()
    assert one.join(30)
    assert last(engine).state == "complete"
