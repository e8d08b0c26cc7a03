"""A lean fake Recall in a process of its own: `python -m tests.bench.fake`, over TLS.

The lab's fake knows every fault and costs a millisecond a call; this one knows three endpoints and
must never be what a contender waits for. It prints its port as one line of JSON.
"""

import argparse
import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.world import World, number_of
from tests.lab.http.tls import make_server_context

API = "/api/v1/"
WINDOW_SECONDS = 60.0
BOT, TOKEN, MEETING = "GET bot", "POST authenticate", "GET meeting"


class Ledger:
    """What was asked, and what a limit of so many bot GETs in any 60 s refused (0: no limit)."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._window: deque[float] = deque()
        self.calls: Counter[str] = Counter()
        self.bot_gets: list[float] = []
        self.refused = 0

    def is_over(self, kind: str) -> bool:
        """Count one call; whether it is one too many."""
        self.calls[kind] += 1
        if kind != BOT:
            return False
        now = self._clock()
        self.bot_gets.append(now)
        while self._window and self._window[0] <= now - WINDOW_SECONDS:
            self._window.popleft()
        if self._limit and len(self._window) >= self._limit:
            self.refused += 1
            return True
        self._window.append(now)
        return False

    def as_json(self) -> dict[str, Any]:
        """Return what was counted."""
        return {"calls": dict(self.calls), "refused": self.refused, "bot_gets": self.bot_gets}


class Recall:
    """Three endpoints over a world, and `/_stats`, `/_reset`, `/_delay/MS` for the bench."""

    def __init__(self, world: World, delay: float, limit: int) -> None:
        self._world = world
        self._limit = limit
        self.delay = delay
        self._ledger = Ledger(limit)

    def answer(
        self, method: str, path: str, headers: bytes, body: bytes
    ) -> tuple[int, bytes, bool]:
        """Return status, body, and whether the answer takes Recall's time."""
        if path.startswith("/_"):
            return 200, json.dumps(self._control(path)).encode(), False
        try:
            status, found = self._api(method, path, headers, body)
        except (ValueError, LookupError):
            status, found = 404, {"detail": "Not found."}
        return status, json.dumps(found).encode(), True

    def _api(self, method: str, path: str, headers: bytes, body: bytes) -> tuple[int, object]:
        words = path.removeprefix(API).strip("/").split("/")
        if words[0] == "bot":
            if self._ledger.is_over(BOT):
                return 429, {"detail": "Request was throttled."}
            return 200, self._world.bot_body(number_of(words[1]))
        if words[1] == "authenticate" and method == "POST":
            self._ledger.is_over(TOKEN)
            return 200, {"token": f"token.{json.loads(body)['user_id']}"}
        self._ledger.is_over(MEETING)
        meeting = self._world.meeting(words[2])
        # Each user's token opens that user's meetings alone: a contender that mixes them up fails.
        if f": token.{meeting.external_id}\r\n".encode() not in headers:
            raise LookupError(path)
        return 200, meeting.as_body()

    def _control(self, path: str) -> object:
        if path == "/_reset":
            self._ledger = Ledger(self._limit)
        if path.startswith("/_delay/"):
            self.delay = float(path.rpartition("/")[2]) / 1000
        return self._ledger.as_json()


class Conversation(asyncio.Protocol):
    """One connection: requests come one after the other, each answered after Recall's time."""

    def __init__(self, recall: Recall) -> None:
        self._recall = recall
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take in bytes; answer when a request is whole."""
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = _length(head)
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        status, body, is_slow = self._recall.answer(method, path, head + b"\r\n", rest[:length])
        answer = (
            f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode() + body
        asyncio.get_running_loop().call_later(
            self._recall.delay if is_slow else 0, self._write, answer
        )

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def serve(recall: Recall, ca_file: Path) -> None:
    """Serve on a free loopback port until ended."""
    context = make_server_context(ca_file)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Conversation(recall), "127.0.0.1", 0, ssl=context)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


def main() -> None:
    """Read what is wanted and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ca_file", type=Path)
    parser.add_argument("--users", type=int, default=0)
    parser.add_argument("--mixed", action="store_true")
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--limit", type=int, default=0)
    given = parser.parse_args()
    recall = Recall(World(given.users, given.mixed), given.delay_ms / 1000, given.limit)
    asyncio.run(serve(recall, given.ca_file))


if __name__ == "__main__":
    main()
