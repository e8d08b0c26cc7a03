"""A host that takes alerts: it answers as told, well or not at all."""

import asyncio
from collections.abc import Callable

from tests.lab.http.line import Later, Line
from tests.lab.http.serving import Server
from tests.lab.http.wire import Request, Response

React = Callable[[Line], Response | Later]


def ok(_line: Line) -> Response:
    """Answer as Slack does."""
    return Response(200, b"ok", content_type="text/html")


def failing(status: int, *headers: tuple[str, str]) -> React:
    """Answer with a status."""
    return lambda _: Response(status, b"hunter2", headers=list(headers))


async def hang(_line: Line) -> None:
    """Answer nothing."""
    await asyncio.Event().wait()


async def drip(line: Line) -> None:
    """Send a head that never ends, a byte at a time."""
    line.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        line.write(b"x")
        await line.drain()
        await asyncio.sleep(0.02)


async def drip_body(line: Line) -> None:
    """Answer at once, with a body that never ends."""
    line.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        line.write(b"x")
        await line.drain()
        await asyncio.sleep(0.02)


async def flood(line: Line) -> None:
    """Answer at once, with 10 GB."""
    line.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
    for _ in range(10 * 1024 * 16):
        line.write(b"x" * 65536)
        await line.drain()
        await asyncio.sleep(0)


async def http_0_9(line: Line) -> None:
    """Answer without a status or headers."""
    line.write(b"ok\r\n")
    line.close()


async def reset(line: Line) -> None:
    """Cut the connection."""
    line.reset()


class HookHost(Server):
    """Keeps every request, and answers as `react` says."""

    def __init__(self, react: React = ok) -> None:
        super().__init__(self._take)
        self.react = react
        self.requests: list[Request] = []

    @property
    def hook(self) -> str:
        """The webhook's address, which is a secret."""
        return f"{self.url}/services/hunter2"

    @property
    def ping(self) -> str:
        """The heartbeat's address, another secret."""
        return f"{self.url}/ping/hunter2"

    @property
    def texts(self) -> list[str]:
        """The messages, in order."""
        return [one.json()["text"] for one in self.requests if one.method == "POST"]

    @property
    def pings(self) -> list[str]:
        """What the heartbeats asked for, after the address."""
        gets = (one.target for one in self.requests if one.method == "GET")
        return [target.removeprefix("/ping/hunter2") for target in gets]

    def _take(self, request: Request, line: Line) -> Response | Later:
        self.requests.append(request)
        return self.react(line)
