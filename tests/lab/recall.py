"""A fake Recall: one workspace behind a real HTTP server, over a world that tests may change."""

import secrets
import time
from pathlib import Path

from tests.lab.api.bot_api import BotApi
from tests.lab.api.calls import CallLog
from tests.lab.api.control import PREFIX, Control
from tests.lab.api.cors import is_a_pages, opened, preflight
from tests.lab.api.front import Desk
from tests.lab.api.limits import Limits
from tests.lab.faults.faults import FaultBook
from tests.lab.http.line import Later, Line
from tests.lab.http.serving import Server
from tests.lab.http.wire import Request, Response
from tests.lab.world.builders import Builder
from tests.lab.world.clock import Clock
from tests.lab.world.world import World


class FakeRecall(Server):
    """One workspace of Recall on a loopback port, for the length of a with block.

    `url` is the base URL without a path. Everything public may be used from any thread. `limits`
    False lifts the rate limits, `limits_scale` multiplies them; `clock` rules tokens and limits.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        clock: Clock = time.time,
        api_key: str | None = None,
        port: int = 0,
        tls_ca: Path | None = None,
        latency_ms: float = 0.0,
        limits: bool = True,
        limits_scale: float = 1.0,
        page_size: int = 100,
    ) -> None:
        super().__init__(self._serve, port=port, tls_ca=tls_ca)
        self.api_key = api_key or secrets.token_hex(20)
        self.control_token = secrets.token_urlsafe(18)
        self.world = World(clock=clock, seed=seed)
        self.build = Builder(self.world, seed)
        self.faults = FaultBook(seed)
        self.calls = CallLog()
        self.limits = Limits(clock, on=limits, scale=limits_scale)
        self._desk = Desk(
            self.world,
            self.api_key,
            self.limits,
            self.faults,
            self.calls,
            BotApi(self.world, page_size),
            latency_ms,
        )
        self._control = Control(self._desk, self.control_token, self)

    @property
    def latency_ms(self) -> float:
        """How long every answer takes at least; may be set at any time."""
        return self._desk.latency_ms

    @latency_ms.setter
    def latency_ms(self, value: float) -> None:
        self._desk.latency_ms = value

    @property
    def in_flight(self) -> int:
        """How many calls wait for their (late or faulty) answer."""
        return self._desk.in_flight

    def _serve(self, request: Request, line: Line) -> Response | Later:
        if request.target.startswith(PREFIX):
            return self._control.answer(request)
        if not is_a_pages(request):
            return self._desk.answer(request, line)
        answer = preflight(request) or self._desk.answer(request, line)
        return opened(answer) if isinstance(answer, Response) else answer
