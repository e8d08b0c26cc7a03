"""A small HTTP server in a thread of its own, for whoever answers requests."""

import asyncio
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tests.lab.http.line import Answer, Line
from tests.lab.http.tls import make_server_context

T = TypeVar("T")
HOST = "127.0.0.1"


class Server:
    """Serves `answer` on a loopback port for the length of a with block; port 0 takes a free one.

    `tls_ca` turns TLS on and says where to write the authority's certificate (PEM).
    """

    def __init__(self, answer: Answer, *, port: int = 0, tls_ca: Path | None = None) -> None:
        self.port = port
        self.tls_ca = tls_ca
        self._answer = answer
        self._lines: set[Line] = set()
        self._context: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread

    @property
    def url(self) -> str:
        """The base URL, `http://127.0.0.1:PORT`, or https (which also answers as localhost)."""
        scheme = "http" if self.tls_ca is None else "https"
        return f"{scheme}://{HOST}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._lines)

    def __enter__(self) -> Self:
        """Listen; OSError when the port is taken."""
        if self.tls_ca is not None:
            self._context = make_server_context(self.tls_ca)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="lab-server", daemon=True)
        self._thread.start()
        try:
            self.open_door()
        except OSError:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cut every connection and end the thread."""
        self.shut_door()
        self._stop()

    def open_door(self) -> None:
        """Listen (again, on the same port as before)."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def shut_door(self) -> None:
        """Refuse new connections and cut the open ones, as an outage would."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()

    def on_loop(self, action: Callable[[], T]) -> T:
        """Run `action` between two requests, in the server's thread; return what it returns."""

        async def run() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await self._loop.create_server(
                self._line, HOST, self.port, ssl=self._context, backlog=1024
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for line in list(self._lines):
            line.abort()
        while self._lines:
            await asyncio.sleep(0)

    def _line(self) -> Line:
        scheme = "http" if self._context is None else "https"
        return Line(self._answer, scheme, self._lines)
