"""The benchmark: what it counts, what it throws out, and that every contender does the whole work.

The peers' own packages are not among the developers': `./dev bench` installs them, and CI, which
does not, skips the peers and runs the service's side alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast
from xml.etree import ElementTree as ET

import httpx
import psycopg
import pytest
from flask import Flask

from tests.bench import boot, economy, events, receiver, worker, workers
from tests.bench.chart import chart
from tests.bench.checks import EmptyAnswerError, check_deliveries, check_links
from tests.bench.environment import PEERS, Fake, Ground
from tests.bench.fake import BOT, MEETING, Ledger, Recall
from tests.bench.load import Order, messages
from tests.bench.plan import interleaved
from tests.bench.questions import addresses, sql_questions
from tests.bench.report import markdown
from tests.bench.results import Figure, Results, percentile, ratio
from tests.bench.world import CODES, World, bot_id, webhook_body
from tests.conftest import unavailable
from tests.lab.stack.servers import ServerUnavailableError


class Rows:
    """A connection that answers every question with the same rows."""

    def __init__(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._rows = rows

    def execute(self, *_: object) -> "Rows":
        """Take any statement."""
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows."""
        return list(self._rows)


def connection(*rows: tuple[Any, ...]) -> "psycopg.Connection[tuple[Any, ...]]":
    """Rows, where a connection is wanted."""
    return cast("psycopg.Connection[tuple[Any, ...]]", Rows(rows))


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """Servers for the contenders, started once."""
    with Ground() as ground:
        try:
            _ = ground.server_url
        except ServerUnavailableError as error:
            unavailable(error)
        yield ground


@pytest.fixture(scope="module")
def fake(ground: Ground) -> Fake:
    """One lean Recall for every worker, ended with the ground."""
    return ground.fake()


def contenders(commands: dict[str, str]) -> list[Any]:
    """Each contender; a peer only where its packages are installed."""
    absent = pytest.mark.skipif(
        not (PEERS / "python").exists(), reason="./dev bench installs the peers"
    )
    marks = {name: (absent,) if str(PEERS) in words else () for name, words in commands.items()}
    return [pytest.param(name, marks=marks[name], id=name) for name in commands]


@pytest.mark.parametrize("name", contenders(receiver.COMMANDS))
def test_each_receiver_stores_what_it_answers_2xx_for(ground: Ground, name: str) -> None:
    """A slice of a third of a second, every row compared with what was sent."""
    contender = receiver.start(ground, name)
    tally = receiver.take_slice(ground, contender, seconds=0.3, bots=300)
    contender.process.stop()
    assert len(tally["taken"]) == sum(tally["statuses"].values()) > 0


@pytest.mark.parametrize("name", contenders(workers.COMMANDS))
def test_each_worker_links_every_bot_to_its_meeting(ground: Ground, fake: Fake, name: str) -> None:
    """Four bots, three calls each, every link compared with the world it came from."""
    contender = workers.start(ground, fake, name)
    found = workers.measure(contender, World(), 4)
    for process in contender.processes:
        process.stop()
    assert found.per_second > 0
    assert found.cpu_ms > 0


def test_a_receiver_that_stored_nothing_is_thrown_out() -> None:
    """A 2xx without its row is no answer."""
    sent = [("msg_1", 1, CODES[0])]
    with pytest.raises(EmptyAnswerError, match="missing"):
        check_deliveries(connection(), sent, "a peer")
    row = ("msg_1", bot_id(1), CODES[0], webhook_body(1, CODES[0]))
    check_deliveries(connection(row), sent, "a peer")


def test_a_receiver_that_stored_another_body_is_thrown_out() -> None:
    """The count alone proves nothing."""
    row = ("msg_1", bot_id(1), CODES[0], b"{}")
    with pytest.raises(EmptyAnswerError, match="different"):
        check_deliveries(connection(row), [("msg_1", 1, CODES[0])], "a peer")


def test_a_link_under_a_wrong_title_is_thrown_out() -> None:
    """A worker that kept the ids and fetched no meeting did not do the work."""
    world = World()
    good = sorted(world.links(range(2)))
    check_links(connection(*good), world, range(2), "a peer")
    with pytest.raises(EmptyAnswerError, match="1 of 2"):
        check_links(connection(good[0], (*good[1][:3], None)), world, range(2), "a peer")


def test_a_target_is_held_against_the_median_of_the_rounds() -> None:
    """One bad round in three is noise; the spread shows it."""
    figure = Figure("worker", "links", ratio([2, 4, 9], [1, 1, 9]), "×", at_least=2.0)
    assert (figure.middle, figure.verdict, figure.spread) == (2.0, "met", "1.00 … 4.00")
    assert Figure("worker", "links", (1.9,), at_least=2.0).verdict == "missed"
    assert Figure("receiver", "p99", (51.0,), at_most=50.0).verdict == "missed"


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """Nearest rank: of a hundred values the 99th, and of one that one."""
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert percentile([7.0], 0.99) == 7.0


def test_no_contender_is_always_the_first_of_a_round() -> None:
    """Each round begins with another, and each has every one once."""
    order = interleaved(["a", "b", "c"], 3)
    assert [name for turn, name in order if turn == 1] == ["b", "c", "a"]
    assert sorted(order) == [(turn, name) for turn in range(3) for name in "abc"]


def test_the_load_generator_sends_no_message_twice() -> None:
    """Every id is new, and each event of a bot is sent once, in no order."""
    order = Order(port=0, path="/", secret="", first=5, bots=3, codes=CODES)
    found = messages(order)
    assert len({message_id for message_id, _, _ in found}) == len(found) == 24
    assert found != sorted(found)


def test_the_fake_recall_refuses_the_call_above_its_limit() -> None:
    """In any sixty seconds, by a window that slides."""
    clock = iter([0.0, 1.0, 2.0, 60.5])
    ledger = Ledger(limit=2, clock=lambda: next(clock))
    assert [ledger.is_over(BOT) for _ in range(4)] == [False, False, True, False]
    assert not ledger.is_over(MEETING)
    assert ledger.refused == 1


def test_the_fake_recall_opens_a_meeting_to_its_users_token_alone() -> None:
    """A contender that mixes tokens up gets a 404, and its links are missed."""
    recall, (meeting,) = Recall(World(), 0.0, 0), World().meetings(3)
    path = f"/api/v1/calendar/meetings/{meeting.id}/"
    own, other = (f"x: token.user-{user}\r\n".encode() for user in (3, 4))
    assert recall.answer("GET", path, own, b"")[0] == 200
    assert recall.answer("GET", path, other, b"")[0] == 404


def test_an_event_that_comes_twice_arrives_once() -> None:
    """When it came for the first time."""
    with events.Sink() as sink:
        for event_id, at in (
            ("a", "2026-11-02T09:00:00+00:00"),
            ("a", "2026-11-02T09:00:01+00:00"),
        ):
            body = {"type": "bot.ended", "timestamp": at, "data": {}}
            httpx.post(f"{sink.url}/", json=body, headers={"webhook-id": event_id})
        (arrival,) = sink.arrivals
    assert arrival.written_at.isoformat() == "2026-11-02T09:00:00+00:00"
    assert arrival.milliseconds > 0


def test_a_steady_rate_leaves_the_first_burst_out() -> None:
    """Full minutes are counted, from five seconds on."""
    times = [0.0] * 8 + [n / 4.8 for n in range(1, 700)]
    assert economy.steady_rates(times, 2) == (288.0, 288.0)


def test_the_questions_are_the_documented_ones() -> None:
    """Every SELECT of docs/sql.md for PostgreSQL is asked, about a bot that is there."""
    found = sql_questions()
    numbers = {name.partition(".")[0] for name in found if name[0].isdigit()}
    assert numbers == {str(number) for number in range(1, len(numbers) + 1)}
    assert not any(sql.endswith(";") for sql in found.values())
    assert not any("…" in sql for sql in found.values())


def test_every_list_and_page_of_an_application_is_found() -> None:
    """By its routes, so that a page that is added is measured too; ways in and out are not."""
    app = Flask("test")
    for rule in ("/api/links", "/api/bots/<bot_id>", "/console/", "/console/login", "/healthz"):
        app.add_url_rule(rule, rule, lambda: "")
    app.add_url_rule("/console/<path:rest>", "rest", lambda: "")
    found = addresses(app)
    assert found["console"] == ["/console/"]
    assert {"/api/links?title=roadmap%20sync", "/api/links?title=sync"} <= set(found["API"])
    assert any(path.startswith("/api/bots/a0700000") for path in found["API"])


def test_the_table_and_the_chart_show_losses_like_wins() -> None:
    """A missed target is in both, and the SVG is well-formed whatever a name holds."""
    results = Results()
    results.add(Figure("receiver", "ours to <b> & |co|", (0.4, 0.5), "×", at_least=0.8))
    results.add(Figure("receiver", "nobody came", ()))
    assert "| ≥ 0.80 | missed |" in markdown(results, "./dev bench")
    assert "nobody" not in markdown(results, "./dev bench")
    assert "#c53030" in chart(results.figures)
    ET.fromstring(chart(results.figures))  # noqa: S314 - our own


def test_what_an_entrance_imports_is_counted() -> None:
    """The worker loads no Flask, and its modules are many."""
    milliseconds, modules, heaviest = boot.imports("workers.__main__")
    assert milliseconds > 0
    assert modules > 100
    assert "flask" not in heaviest


def test_a_slice_is_as_long_for_the_slow_as_for_the_fast() -> None:
    """Each contender gets as many bots as it may do in the time; none gets less than three."""
    counts = {name: worker.count_for(name, 200, 1) for name in workers.COMMANDS}
    assert counts[workers.RQ] == 3
    assert counts[workers.OURS] > 10 * counts[workers.RQ]
