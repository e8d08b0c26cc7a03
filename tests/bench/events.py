"""Room 7, events: what an endpoint costs the links, how fast events are delivered and how soon.

An endpoint that hangs may delay no link and no other endpoint.
"""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.bench.environment import Fake, Ground, connected, until
from tests.bench.plan import Plan, interleaved
from tests.bench.results import Figure, Results, percentile, ratio
from tests.bench.workers import OURS, Contender, Slice, measure, start
from tests.bench.world import World
from tests.lab.http.line import Line
from tests.lab.http.serving import Server
from tests.lab.http.wire import Request, Response

ROOM = "events"
CALL_MS = 50
LINKS_A_SECOND = 200
NONE, HANGING = "no endpoint", "one that hangs"
ANSWERING, BESIDE = "one that answers", "one that answers beside one that hangs"
NAMES = (NONE, HANGING, ANSWERING, BESIDE)
# Of those that answer: what hangs has everything waiting.
UNDELIVERED = """SELECT (SELECT count(*) FROM events WHERE position IS NULL)
    + (SELECT count(*) FROM event_deliveries WHERE state = 'pending' AND endpoint LIKE %s)"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """When an event was written, a moment before its commit, and when it was received."""

    written_at: datetime
    received_at: datetime

    @property
    def milliseconds(self) -> float:
        """How long it was on its way."""
        return (self.received_at - self.written_at).total_seconds() * 1000


class Sink(Server):
    """An endpoint that answers at once, and notes when each event came for the first time."""

    def __init__(self) -> None:
        super().__init__(self._take)
        self._arrivals: dict[str, Arrival] = {}

    @property
    def arrivals(self) -> list[Arrival]:
        """Each event's, in the order in which they came."""
        return list(self._arrivals.values())

    def _take(self, request: Request, _line: Line) -> Response:
        written_at = datetime.fromisoformat(json.loads(request.body)["timestamp"])
        arrival = Arrival(written_at, datetime.now(UTC))
        self._arrivals.setdefault(request.headers["webhook-id"], arrival)
        return Response(204, b"")


@dataclass(frozen=True, slots=True)
class Service:
    """A worker with these endpoints, and the sink that is one of them, if any."""

    worker: Contender
    sink: Sink | None

    def rest(self) -> None:
        """Wait until the sink has every event."""
        if self.sink is None:
            return
        theirs = f"{self.sink.url.partition('://')[2].replace(':', '-')}-%"
        with connected(self.worker.database) as connection:

            def is_delivered() -> bool:
                row = connection.execute(UNDELIVERED, (theirs,)).fetchone()
                return row == (0,)

            until(is_delivered, "the delivery of every event")


def run(ground: Ground, plan: Plan, results: Results) -> None:
    """Link bots in interleaved rounds, then one at a time."""
    fake = ground.fake("--delay-ms", str(CALL_MS))
    bots = LINKS_A_SECOND * plan.size(8, 2)
    slices: dict[str, list[Slice]] = {name: [] for name in NAMES}
    rates: dict[str, list[float]] = {name: [] for name in NAMES}
    with _services(ground, fake) as services:
        for turn, name in interleaved(NAMES, plan.rounds):
            plan.say(f"events, round {turn + 1} of {plan.rounds}: {name}")
            found, arrivals = _slice(services[name], bots)
            slices[name].append(found)
            if arrivals:
                rates[name].append(_rate(arrivals))
        delays = {}
        for name in (ANSWERING, BESIDE):
            plan.say(f"events, one bot at a time: {name}")
            some = [_slice(services[name], 1)[1] for _ in range(plan.size(40, 10))]
            delays[name] = [one.milliseconds for arrivals in some for one in arrivals]
    _tell(slices, rates, delays, results)


@contextmanager
def _services(ground: Ground, fake: Fake) -> Iterator[dict[str, Service]]:
    with ExitStack() as held:
        # Nobody accepts: the kernel takes the connection and the request, and no answer comes.
        hanging = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        hangs = f"http://127.0.0.1:{hanging.getsockname()[1]}/"
        sinks = {name: held.enter_context(Sink()) for name in (ANSWERING, BESIDE)}
        urls = {NONE: [], HANGING: [hangs], ANSWERING: [], BESIDE: [hangs]}
        for name, sink in sinks.items():
            urls[name].append(f"{sink.url}/")
        yield {
            name: Service(
                start(
                    ground,
                    fake,
                    OURS,
                    EVENTS_URL=",".join(urls[name]),
                    EVENTS_SECRET=",".join([ground.secret] * len(urls[name])),
                ),
                sinks.get(name),
            )
            for name in NAMES
        }


def _slice(service: Service, bots: int) -> tuple[Slice, Sequence[Arrival]]:
    """What linking so many bots took, and the events that came of them."""
    service.rest()
    before = len(service.sink.arrivals) if service.sink else 0
    found = measure(service.worker, World(), bots)
    service.rest()
    return found, service.sink.arrivals[before:] if service.sink else []


def _rate(arrivals: Sequence[Arrival]) -> float:
    first, last = arrivals[0].received_at, arrivals[-1].received_at
    return (len(arrivals) - 1) / (last - first).total_seconds()


def _tell(
    slices: dict[str, list[Slice]],
    rates: dict[str, list[float]],
    delays: dict[str, list[float]],
    results: Results,
) -> None:
    def add(what: str, values: Sequence[float], unit: str, **target: float) -> None:
        note = f"{CALL_MS} ms a call"
        results.add(Figure(ROOM, what, tuple(values), unit, note=note, **target))

    speeds = {name: [one.per_second for one in found] for name, found in slices.items()}
    # On a machine with other work, what says more than the time that it took.
    cpu = {name: [one.cpu_ms for one in found] for name, found in slices.items()}
    slowed = ratio(speeds[HANGING], speeds[NONE])
    add(f"links a second, {HANGING} to none", slowed, "×", at_least=0.95)
    add(f"links a second, {ANSWERING} to none", ratio(speeds[ANSWERING], speeds[NONE]), "×")
    add(f"CPU a link, {HANGING} to none", ratio(cpu[HANGING], cpu[NONE]), "×")
    add(f"CPU a link, {ANSWERING} to none", ratio(cpu[ANSWERING], cpu[NONE]), "×")
    add(f"links a second, {NONE}", speeds[NONE], "")
    for name in (ANSWERING, BESIDE):
        add(f"events delivered a second, {name}", rates[name], "")
        for share in (0.5, 0.95):
            what = f"event written to received, p{share * 100:.0f}, {name}"
            add(what, (percentile(delays[name], share),), "ms")
    late = percentile(delays[BESIDE], 0.95) / percentile(delays[ANSWERING], 0.95)
    add(f"event written to received, p95, {BESIDE} to {ANSWERING}", (late,), "×", at_most=1.5)
