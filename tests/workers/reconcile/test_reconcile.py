"""Reconcile: what webhooks missed is found, filled in and counted, however the pages shift."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, update

from models.queries.alarms.alerts import alarms
from models.queries.service_status import overview
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from models.tables.reconcile_run import ReconcileRun
from tests.conftest import MakeContext
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.world.shapes import Bot as FakeBot
from tests.support.cli import Tell, teller, told
from tests.support.ids import new_id
from tests.support.rows import add_bot, add_delivery, bot_row, count, rows
from webhook.monitoring.metrics import SqlCollector
from webhook.services.reader import Reader
from workers.linking.apply_deliveries import apply_all
from workers.linking.drain import Drain
from workers.rate_limits.buckets import Bucket, Buckets, Grant, LocalLimits, SteadyLimits
from workers.recall_api.bot_list import BotListClient, read_bot_page
from workers.recall_api.client import Recall
from workers.recall_api.errors import RecallError
from workers.recall_api.transport import HttpClient, make_ssl_context
from workers.reconcile.reconciler import Reconciler
from workers.shutdown import Stop

SINCE = ("reconcile", "--since", (datetime.now(UTC) - timedelta(days=2)).isoformat())


@pytest.fixture
def recall() -> Iterator[FakeRecall]:
    """A fake Recall of small pages."""
    with FakeRecall(limits=False, page_size=3) as recall:
        yield recall


@pytest.fixture
def tell(database_url: str, recall: FakeRecall) -> Tell:
    """The command line."""
    return teller(database_url, recall)


def hear(engine: Engine, bot: FakeBot, *codes: str) -> None:
    """Let webhooks tell of a bot's statuses, of all of them unless some are named."""
    for change in bot.status_changes:
        if not codes or change.code in codes:
            add_delivery(engine, bot.id, change.code, occurred_at=change.created_at)
    apply_all(engine)


def test_bots_never_heard_of_are_counted_filled_in_and_linked(
    engine: Engine, recall: FakeRecall, tell: Tell, make_context: MakeContext
) -> None:
    """The list's own calendar_meetings need no call; the drain links what became due."""
    bots = recall.build.populate(8)
    for bot in bots[:5]:
        hear(engine, bot)
    result = tell(*SINCE, "--json")
    assert result.exit_code == 1
    assert {name: told(result)[name] for name in ("bots_seen", "bots_missed", "bots_due")} == {
        "bots_seen": 8,
        "bots_missed": 3,
        "bots_due": 3,
    }
    assert recall.calls.counts() == {"GET bot 200": 3}
    with engine.begin() as connection:
        connection.execute(update(Bot).where(Bot.due_at.is_not(None)).values(due_at=db_now(-1)))
    Drain(make_context(), Stop()).run()
    assert {row.id for row in rows(engine, Bot)} == {bot.id for bot in bots}
    assert {row.link_state for row in rows(engine, Bot)} <= {"linked", "no_meetings"}
    again = tell(*SINCE, "--json")
    assert again.exit_code == 0
    assert told(again)["bots_missed"] == told(again)["statuses_missed"] == 0


def test_statuses_that_never_came_make_a_bot_done_and_due(
    engine: Engine, recall: FakeRecall, tell: Tell
) -> None:
    """With no delivery, so that explain tells them from what a webhook said."""
    bot = recall.build.bot([recall.build.meeting(recall.build.user())])
    hear(engine, bot, "joining_call")
    before = bot_row(engine, bot.id)
    assert told(tell(*SINCE, "--json"))["bots_missed"] == 0
    after = bot_row(engine, bot.id)
    assert (after.status, after.due_seq) == ("done", before.due_seq + 1)
    delivered = {row.code for row in rows(engine, BotStatus) if row.delivery_id}
    assert delivered == {"joining_call"}
    assert {row.code for row in rows(engine, BotStatus)} == {c.code for c in bot.status_changes}


def test_a_late_list_never_sets_a_status_back(
    engine: Engine, recall: FakeRecall, tell: Tell
) -> None:
    """A bot that webhooks say is done stays done, whatever the list has of it."""
    bot = recall.build.bot()
    hear(engine, bot)
    bot.status_changes = bot.status_changes[:3]
    assert tell(*SINCE).exit_code == 0
    assert bot_row(engine, bot.id).status == "done"


def test_what_webhooks_never_tell_is_not_missed(
    engine: Engine, recall: FakeRecall, tell: Tell
) -> None:
    """Scheduled bots, `ready`, `recording_done`, times a hair apart, and the last ten minutes."""
    scheduled = recall.build.bot(outcome=None)
    live, old = recall.build.bot(), recall.build.bot()
    for change in live.status_changes:
        change.created_at = datetime.now(UTC) - timedelta(minutes=1)
    sent = {c.code for c in old.status_changes} - {"ready", "recording_done"}
    hear(engine, old, *sent)
    for change in old.status_changes:
        change.created_at += timedelta(milliseconds=400)
    result = tell(*SINCE, "--json")
    assert result.exit_code == 0, result.stdout
    assert scheduled.id not in {row.id for row in rows(engine, Bot)}
    assert bot_row(engine, live.id).status == "done"
    codes = [row.code for row in rows(engine, BotStatus, bot_id=old.id)]
    assert sorted(codes) == sorted({c.code for c in old.status_changes})


def test_a_webhook_still_to_be_applied_was_not_missed(
    engine: Engine, recall: FakeRecall, tell: Tell
) -> None:
    """It is applied first."""
    bot = recall.build.bot()
    for change in bot.status_changes:
        add_delivery(engine, bot.id, change.code, occurred_at=change.created_at)
    assert tell(*SINCE).exit_code == 0
    assert all(row.delivery_id for row in rows(engine, BotStatus))


def test_pages_that_shift_repeat_bots_and_skip_none(
    engine: Engine, recall: FakeRecall, tell: Tell
) -> None:
    """Bots made in mid-pass push others down, bots deleted pull others up: all are seen."""
    bots = recall.build.populate(9)
    asked: list[object] = []

    def shift(body: Any) -> Any:
        asked.append(body)
        with recall.world.lock:
            if len(asked) == 1:
                recall.build.bot()
            if len(asked) == 2:
                recall.world.remove_bot(bots[-1].id)
                recall.world.remove_bot(bots[-2].id)
        return body

    recall.faults.add(Fault(act="transform", path="bot", transform=shift))
    result = tell(*SINCE, "--json")
    assert told(result)["complete"] is True
    found = {row.id for row in rows(engine, Bot)}
    assert found >= {bot.id for bot in bots[:-2]}
    assert len(asked) > 3


def test_a_list_that_forgets_a_bot_is_read_again(
    engine: Engine, recall: FakeRecall, tell: Tell
) -> None:
    """Fewer distinct bots than Recall counts are a gap, which the next pass closes."""
    bots = recall.build.populate(5)

    def repeat(body: Any) -> Any:
        body["results"][-1] = body["results"][0]
        return body

    recall.faults.add(Fault(act="transform", path="bot", transform=repeat, times=1))
    assert told(tell(*SINCE, "--json"))["complete"] is True
    assert {row.id for row in rows(engine, Bot)} == {bot.id for bot in bots}


def test_a_run_that_was_cut_off_goes_on_where_it_stood(
    engine: Engine, recall: FakeRecall, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a page that cannot be had; what was merged stays, and nothing is counted twice."""
    monkeypatch.setattr("workers.reconcile.reconciler.MOST_TRIES", 1)
    bots = recall.build.populate(12)
    with recall.faults.during(Fault(path="bot", match="page=3", status=503)):
        cut = tell(*SINCE, "--json")
    assert cut.exit_code == 3
    assert told(cut)["finished"] is False
    assert len(rows(engine, Bot)) == 6
    recall.calls.clear()
    done = tell("reconcile", "--json")
    assert "resuming run" in done.stderr
    assert {name: told(done)[name] for name in ("bots_seen", "bots_missed", "complete")} == {
        "bots_seen": 12,
        "bots_missed": 12,
        "complete": True,
    }
    assert len(recall.calls.all("bot")) == 3
    assert {row.id for row in rows(engine, Bot)} == {bot.id for bot in bots}
    assert tell("reconcile").exit_code == 2


def test_a_killed_run_is_taken_up_and_a_live_one_is_left_alone(
    engine: Engine, recall: FakeRecall, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that has not been written for two minutes is nobody's."""
    monkeypatch.setattr("workers.reconcile.reconciler.MOST_TRIES", 1)
    recall.build.populate(6)
    with recall.faults.during(Fault(path="bot", match="page=2", status=503)):
        tell(*SINCE)
    with engine.begin() as connection:
        connection.execute(update(ReconcileRun).values(error=None, beat_at=db_now()))
    busy = tell(*SINCE)
    assert (busy.exit_code, "another process" in busy.stderr) == (1, True)
    with engine.begin() as connection:
        connection.execute(update(ReconcileRun).values(beat_at=db_now(-121)))
    assert told(tell(*SINCE, "--json"))["bots_seen"] == 6
    assert count(engine, ReconcileRun) == 1


def test_a_next_page_elsewhere_gets_no_key(engine: Engine, recall: FakeRecall, tell: Tell) -> None:
    """Another host, port or scheme: the run ends, and says where it was sent."""
    recall.build.populate(4)
    with FakeRecall(limits=False) as other:
        patch = {"next": f"{other.url}/api/v1/bot/?page=2"}
        recall.faults.add(Fault(act="transform", path="bot", patch=patch))
        result = tell(*SINCE)
        assert (result.exit_code, "foreign_next" in result.stderr) == (3, True)
        assert other.calls.all() == []


@pytest.mark.parametrize(
    "next_page",
    [
        "http://us-east-1.recall.ai/api/v1/bot/?page=2",
        "https://us-east-1.recall.ai.evil.example/api/v1/bot/?page=2",
        "https://us-east-1.recall.ai@evil.example/api/v1/bot/?page=2",
        "https://us-east-1.recall.ai:8443/api/v1/bot/?page=2",
        "https://us-east-1.recall.ai/api/v1/calendar/users/?page=2",
        "//evil.example/api/v1/bot/?page=2",
        7,
    ],
)
def test_only_our_own_list_is_a_next_page(next_page: object) -> None:
    """Anything else is refused before a key goes out."""
    base = "https://us-east-1.recall.ai"
    body = '{"results": [], "next": %s}'
    text = f'"{next_page}"' if isinstance(next_page, str) else str(next_page)
    with pytest.raises(RecallError, match="foreign_next"):
        read_bot_page((body % text).encode(), base, datetime.now(UTC))
    good = f'"{base}/api/v1/bot/?page=2"'
    assert read_bot_page((body % good).encode(), base, datetime.now(UTC)).next_path == "bot/?page=2"


def test_strange_bots_and_statuses_are_left_out_and_counted(
    engine: Engine, recall: FakeRecall, tell: Tell
) -> None:
    """A bot without an id, a code with a control character, a time of the year 9999."""
    bot = recall.build.bot()

    def spoil(body: Any) -> Any:
        strange = {"code": "done", "created_at": "9999-01-01T00:00:00Z"}
        item = body["results"][0]
        item["status_changes"] += [strange, {"code": "a\nb", "created_at": "2026-01-01"}, 5, {}]
        body["results"] += [{"id": "../x"}, 7]
        return body

    recall.faults.add(Fault(act="transform", path="bot", transform=spoil))
    result = told(tell(*SINCE, "--json"))
    assert result["unusable"] == 2
    assert len(rows(engine, BotStatus)) == len(bot.status_changes)


def test_a_429_is_waited_out(engine: Engine, recall: FakeRecall, tell: Tell) -> None:
    """The bucket closes for everybody, and the run goes on."""
    recall.build.populate(4)
    busy = Fault(path="bot", status=429, headers={"Retry-After": "1"}, times=1)
    recall.faults.add(busy)
    assert told(tell(*SINCE, "--json"))["bots_seen"] == 4


def test_each_page_waits_for_its_turn_in_the_shared_bucket(
    engine: Engine, recall: FakeRecall
) -> None:
    """Sixty a minute for the whole workspace, whoever pages."""
    recall.build.populate(7)
    taken: list[tuple[str, float]] = []

    class Noting(SteadyLimits):
        def take(self, bucket: Bucket, count: int = 1) -> Grant:
            taken.append((bucket.name, bucket.per_minute))
            return Grant(count)

    wire = HttpClient(make_ssl_context())
    asking, limits = Recall(wire, recall.url, recall.api_key), Noting(None, LocalLimits())
    client = BotListClient(asking, limits, Buckets().bot_list, patience=3)
    reconciler = Reconciler(engine, client, "ann")
    done = reconciler.run(reconciler.open(None))
    wire.close()
    assert done.pages == 3
    assert taken == [("bot_list", 60)] * 3


def test_what_was_missed_shows_until_a_run_finds_nothing(
    engine: Engine, recall: FakeRecall, tell: Tell
) -> None:
    """In status, alarms and metrics."""
    recall.build.bot()
    tell(*SINCE)
    with engine.connect() as connection:
        found = overview(connection)
        assert found.reconcile is not None
        assert found.reconcile.bots_missed == 1
        assert "webhooks_missed" in {alarm.name for alarm in alarms(connection, found)}
    told_to_prometheus = {
        sample.name: sample.value
        for metric in SqlCollector(Reader(engine)).collect()
        for sample in metric.samples
    }
    assert told_to_prometheus["recall_links_reconcile_bots_missed"] == 1
    assert told_to_prometheus["recall_links_missed_total"] > 0
    tell(*SINCE)
    with engine.connect() as connection:
        wrong = alarms(connection, overview(connection))
    assert "webhooks_missed" not in {alarm.name for alarm in wrong}


def test_all_lists_ad_hoc_bots_too(engine: Engine, recall: FakeRecall, tell: Tell) -> None:
    """They have no time to join, and so are in no window."""
    bot = recall.build.bot()
    bot.join_at = None
    assert tell(*SINCE).exit_code == 0
    assert told(tell("reconcile", "--all", "--json"))["bots_missed"] == 1


def test_a_window_must_be_named(tell: Tell) -> None:
    """A wrong one is a usage error."""
    for words in (
        (),
        ("--since", "someday"),
        ("--since", "5"),
        ("--since", "2026-01-01", "--all"),
    ):
        assert tell("reconcile", *words).exit_code == 2


def test_a_refused_key_ends_the_run_at_once(recall: FakeRecall, tell: Tell) -> None:
    """No retry would mend it."""
    recall.faults.add(Fault(path="bot", status=401))
    assert tell(*SINCE).exit_code == 3
    assert len(recall.calls.all("bot")) == 1


def hold(engine: Engine, bots: int, link_state: str = "linked", days_ago: float = 1) -> None:
    """Hold so many bots that webhooks told of."""
    for _ in range(bots):
        seen_at = datetime.now(UTC) - timedelta(days=days_ago)
        add_bot(engine, new_id(), link_state=link_state, first_seen_at=seen_at, due_at=None)


def is_ringing(engine: Engine) -> bool:
    """Whether the alarm of missed webhooks rings."""
    with engine.connect() as connection:
        found = alarms(connection, overview(connection))
    return "webhooks_missed" in {alarm.name for alarm in found}


@pytest.mark.parametrize(("listed", "held"), [(0, 10), (0, 30), (1, 10), (5, 12)])
@pytest.mark.parametrize("window", [SINCE, ("reconcile", "--all")])
def test_a_list_far_shorter_than_what_is_held_is_not_believed(
    engine: Engine, recall: FakeRecall, tell: Tell, listed: int, held: int, window: tuple[str, ...]
) -> None:
    """It says so, exits 1 and ends no alarm; what it did show is filled in all the same."""
    recall.build.bot()
    tell(*SINCE)
    assert is_ringing(engine)
    recall.world.bots.clear()
    for bot in recall.build.populate(listed):
        hear(engine, bot)
    hold(engine, held)
    result = tell(*window, "--json")
    assert (result.exit_code, "too short to be believed" in result.stderr) == (1, True)
    assert (told(result)["finished"], told(result)["complete"]) == (True, False)
    assert "list_too_short" in told(result)["error"]
    assert is_ringing(engine)
    # The next one of the same window begins anew, and is believed when the list is whole again.
    for row in rows(engine, Bot):
        recall.world.bots.setdefault(row.id, FakeBot(row.id, join_at=datetime.now(UTC)))
    assert told(tell(*window, "--json"))["error"] is None
    assert not is_ringing(engine)


@pytest.mark.parametrize(
    ("listed", "held", "kind"),
    [(0, 9, {}), (6, 12, {}), (0, 30, {"link_state": "no_meetings"}), (0, 30, {"days_ago": 9})],
)
def test_a_list_that_may_be_as_short_is_believed(
    engine: Engine, recall: FakeRecall, tell: Tell, listed: int, held: int, kind: dict[str, Any]
) -> None:
    """A few bots deleted by hand; ad hoc bots, which no window lists; those of another time."""
    for bot in recall.build.populate(listed):
        hear(engine, bot)
    hold(engine, held - listed, **kind)
    result = tell(*SINCE, "--json")
    assert (result.exit_code, told(result)["complete"]) == (0, True)


def test_a_list_that_was_not_read_whole_ends_no_alarm(
    engine: Engine, recall: FakeRecall, tell: Tell
) -> None:
    """What it does not show may be in what was skipped."""
    bots = recall.build.populate(4)
    tell(*SINCE)
    assert is_ringing(engine)

    def hide(body: Any) -> Any:
        body["results"] = [item for item in body["results"] if item["id"] != bots[0].id]
        return body

    with recall.faults.during(Fault(act="transform", path="bot", transform=hide)):
        assert told(tell(*SINCE, "--json"))["complete"] is False
    assert is_ringing(engine)
    tell(*SINCE)
    assert not is_ringing(engine)


def test_a_page_that_is_gone_is_no_end_of_the_list(
    engine: Engine, recall: FakeRecall, tell: Tell
) -> None:
    """Where Recall does not count, too: the pass is made again, and says that it is not whole."""
    recall.build.populate(5)

    def uncounted(body: Any) -> Any:
        return {key: value for key, value in body.items() if key != "count"}

    recall.faults.add(Fault(path="bot", match="page=2", status=404))
    recall.faults.add(Fault(act="transform", path="bot", transform=uncounted))
    result = tell(*SINCE, "--json")
    assert (result.exit_code, told(result)["complete"]) == (1, False)
