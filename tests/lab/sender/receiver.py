"""A webhook receiver that believes everything: what a sender is tried against."""

import threading
from collections.abc import Callable
from pathlib import Path

from tests.lab.http.line import Later, Line
from tests.lab.http.serving import Server
from tests.lab.http.wire import Request, Response

Reaction = Callable[[Request], Response | Later]


def accept(request: Request) -> Response:
    """Answer 202 to anything."""
    return Response(202, b"{}")


class Receiver(Server):
    """Keeps every request and answers as `react` says, 202 unless told otherwise."""

    def __init__(self, react: Reaction = accept, *, tls_ca: Path | None = None) -> None:
        super().__init__(self._take, tls_ca=tls_ca)
        self.react = react
        self._lock = threading.Lock()
        self._requests: list[Request] = []

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order they came."""
        with self._lock:
            return list(self._requests)

    def _take(self, request: Request, _line: Line) -> Response | Later:
        with self._lock:
            self._requests.append(request)
        return self.react(request)
