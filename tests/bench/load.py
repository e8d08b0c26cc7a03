"""The load generator: a process of its own, light, the same for every contender.

`python -m tests.bench.load` reads one Order as JSON from stdin, signs all before the clock starts,
sends them over raw keep-alive sockets, and prints what came back.
"""

import json
import random
import selectors
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from tests.bench.world import CODES, webhook_body
from tests.lab.sender.signing import sign

GRACE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to send: `codes` of `bots` bots from `first` on, shuffled, for `seconds` at most.

    `rate` 0 is a closed loop: each connection sends as soon as it was answered. Otherwise messages
    leave on a schedule, and a latency counts from the scheduled moment, late or not.
    """

    port: int
    path: str
    secret: str
    first: int
    bots: int
    prefix: str = "msg"
    codes: tuple[str, ...] = (CODES[0],)
    connections: int = 32
    seconds: float = 60.0
    rate: float = 0.0


@dataclass(slots=True, eq=False)
class PooledConnection:
    """One connection and the message it carries."""

    sock: socket.socket
    message: int = -1
    since: float = 0.0
    buffer: bytes = b""


@dataclass(slots=True)
class HourlyCount:
    """What came of it."""

    statuses: Counter[int] = field(default_factory=Counter)
    taken: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    unanswered: int = 0
    seconds: float = 0.0


def messages(order: Order) -> list[tuple[str, int, str]]:
    """Return message id, bot number and code of every message, in the order they are sent."""
    numbers = range(order.first, order.first + order.bots)
    found = [(f"{order.prefix}_{n}_{code}", n, code) for n in numbers for code in order.codes]
    if len(order.codes) > 1:
        # Recall promises no order, and neither do we.
        random.Random(order.first).shuffle(found)
    return found


def requests(order: Order) -> list[bytes]:
    """Return every message as the bytes of a signed POST."""
    now = int(time.time())
    ready = []
    for message_id, number, code in messages(order):
        body = webhook_body(number, code)
        headers = sign(message_id, body, [order.secret], timestamp=now)
        lines = [f"POST {order.path} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: Svix-Webhooks/1.0"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
        ready.append("\r\n".join(lines).encode() + body)
    return ready


class Generator:
    """Sends what is ready over a few connections; one that the server closes is opened anew."""

    def __init__(self, order: Order, ready: list[bytes]) -> None:
        self._order = order
        self._ready = ready
        self._selector = selectors.DefaultSelector()
        self._free: deque[PooledConnection] = deque(self._open() for _ in range(order.connections))
        self._next = 0
        self._busy = 0
        self.tally = HourlyCount()

    def run(self) -> HourlyCount:
        """Send until the messages or the seconds are over; then wait for what is in flight."""
        started = time.perf_counter()
        ends = started + self._order.seconds
        while True:
            now = time.perf_counter()
            if now < ends and self._next < len(self._ready):
                self._feed(started, now)
            elif not self._busy or now > ends + GRACE_SECONDS:
                break
            for key, _ in self._selector.select(self._rest(started, now)):
                self._read(key.data)
        self.tally.seconds = time.perf_counter() - started
        self.tally.unanswered = self._busy
        return self.tally

    def _rest(self, started: float, now: float) -> float:
        if not self._order.rate or self._next >= len(self._ready):
            return 0.2
        return min(0.2, max(0.0, started + self._next / self._order.rate - now))

    def _feed(self, started: float, now: float) -> None:
        while self._free and self._next < len(self._ready):
            due = started + self._next / self._order.rate if self._order.rate else now
            if due > now:
                return
            lane = self._free.popleft()
            lane.message, lane.since, lane.buffer = self._next, due, b""
            self._next += 1
            self._busy += 1
            lane.sock.send(self._ready[lane.message])

    def _read(self, lane: PooledConnection) -> None:
        try:
            data = lane.sock.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self._reopen(lane, is_answered=lane.message < 0)
            return
        lane.buffer += data
        head, separator, rest = lane.buffer.partition(b"\r\n\r\n")
        if separator and len(rest) >= _length(head.lower()):
            self._count(lane, int(head[9:12]))
            if b"connection: close" in head.lower():
                self._reopen(lane, is_answered=True)
            else:
                self._free.append(lane)

    def _count(self, lane: PooledConnection, status: int) -> None:
        self.tally.statuses[status] += 1
        self.tally.latencies.append(time.perf_counter() - lane.since)
        if 200 <= status < 300:
            self.tally.taken.append(lane.message)
        lane.message = -1
        self._busy -= 1

    def _reopen(self, lane: PooledConnection, *, is_answered: bool) -> None:
        self._selector.unregister(lane.sock)
        lane.sock.close()
        if not is_answered:
            self._busy -= 1
            self.tally.statuses[0] += 1
        elif lane in self._free:
            self._free.remove(lane)
        self._free.append(self._open())

    def _open(self) -> PooledConnection:
        # Blocking: on loopback the kernel answers at once, also for a server that is busy.
        sock = socket.create_connection(("127.0.0.1", self._order.port), timeout=5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(0)
        lane = PooledConnection(sock)
        self._selector.register(sock, selectors.EVENT_READ, lane)
        return lane


def _length(head: bytes) -> int:
    _, found, rest = head.partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


def as_json(tally: HourlyCount) -> dict[str, Any]:
    """Return a tally with its latencies in milliseconds, sorted."""
    latencies = sorted(round(seconds * 1000, 3) for seconds in tally.latencies)
    return {
        "statuses": dict(tally.statuses),
        "taken": tally.taken,
        "latencies": latencies,
        "unanswered": tally.unanswered,
        "seconds": tally.seconds,
    }


def main() -> None:
    """Do one order."""
    given = json.load(sys.stdin)
    order = Order(**given | {"codes": tuple(given["codes"])})
    print(json.dumps(as_json(Generator(order, requests(order)).run())))


if __name__ == "__main__":
    main()
