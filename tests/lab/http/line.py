"""One client connection of the fake: keep-alive, one request at a time, in order."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

from tests.lab.http.wire import BadRequestError, Parser, Request, Response

Later = Coroutine[Any, Any, None]
Answer = Callable[[Request, "Line"], Response | Later]


class Line(asyncio.Protocol):
    """Feeds the parser, hands each request to `answer` and writes what comes back.

    `answer` returns a Response at once, or a coroutine that writes to the line itself; the next
    request waits until it is through. A client that leaves cancels that coroutine.
    """

    def __init__(self, answer: Answer, scheme: str, lines: "set[Line]") -> None:
        self._answer = answer
        self._scheme = scheme
        self._lines = lines
        self._parser = Parser()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self.peer = ("", 0)

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; only while connected."""
        if self._transport is None:
            raise ConnectionError("the client has left")
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who called."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("the lab speaks over stream transports")
        self._transport = transport
        self._writable.set()
        self.peer = transport.get_extra_info("peername")[:2]
        self._lines.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Drop whatever was still being answered."""
        self._lines.discard(self)
        self._transport = None
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Hold `drain` back: the client reads slower than we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `drain` go on."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete, unless one is being answered."""
        self._parser.feed(data)
        self._advance()

    def send(self, response: Response, request: Request) -> None:
        """Write a whole answer and close where the client asked for it."""
        close = request.wants_close
        encoded = response.encode(close=close)
        self.write(encoded if request.method != "HEAD" else encoded.partition(b"\r\n\r\n")[0])
        if close:
            self.close()

    def write(self, data: bytes) -> None:
        """Write bytes as they are; nothing happens once the client has left."""
        if self._transport is not None:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written; ConnectionError if it left."""
        await self._writable.wait()
        if self._transport is None:
            raise ConnectionError("the client has left")

    def close(self) -> None:
        """Close once everything written is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection, whatever was on its way."""
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """Send a TCP RST: what was written may never arrive."""
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def _advance(self) -> None:
        with contextlib.suppress(ConnectionError):
            try:
                while self._task is None and not self.transport.is_closing():
                    request = self._parser.next_request()
                    if request is None:
                        return
                    self._begin(request)
            except BadRequestError as refusal:
                self.write(Response(refusal.status).encode(close=True))
                self.close()

    def _begin(self, request: Request) -> None:
        request.peer = self.peer
        request.origin = f"{self._scheme}://{request.headers.get('host', '')}"
        outcome = self._answer(request, self)
        if isinstance(outcome, Response):
            self.send(outcome, request)
            return
        self._task = asyncio.get_running_loop().create_task(outcome)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self.abort()
            if not isinstance(error, ConnectionError):
                raise error
        if self._transport is not None:
            self._advance()
