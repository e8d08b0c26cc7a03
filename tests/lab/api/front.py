"""The front desk: admits, limits, spoils, answers and logs every call."""

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.lab.api.answers import (
    firewall,
    invalid,
    not_found,
    throttled,
    unauthenticated,
    wrong_method,
)
from tests.lab.api.bot_api import BotApi
from tests.lab.api.calls import Call, CallLog
from tests.lab.api.limits import Limits
from tests.lab.api.routes import UNKNOWN, Routes
from tests.lab.api.visits import Endpoint, InvalidError, Visit
from tests.lab.faults.faults import Fault, FaultBook
from tests.lab.faults.misbehave import act_out
from tests.lab.faults.spoil import Scene
from tests.lab.http.line import Later, Line
from tests.lab.http.wire import Request, Response
from tests.lab.world.world import World

# With latency and without a fault, the scene is the truth.
TRUE = Fault("slow")
TOKEN_HEADER = "x-recallcalendarauthtoken"


@dataclass(slots=True)
class Desk:
    """Answers requests out of one world; `latency_ms` is slept before every answer.

    In this order: a full rate-limit window (429), a scripted fault, a refusal, the true answer.
    """

    world: World
    api_key: str
    limits: Limits
    faults: FaultBook
    calls: CallLog
    bots: BotApi
    latency_ms: float = 0.0
    in_flight: int = 0
    routes: Routes = field(init=False)

    def __post_init__(self) -> None:
        self.routes = Routes(self.world, self.bots)

    def answer(self, request: Request, line: Line) -> Response | Later:
        """Return the answer, or a coroutine that gives it when there is latency or a fault."""
        started = time.perf_counter()
        with self.world.lock:
            visit = self._visit(request)
            refusal = self._refuse(visit)
            fault = self._fault(visit, refusal)
            if not self.latency_ms and fault is None:
                response = refusal or self._truth(visit)
                self._note(visit, response.status, started)
                return response
        return self._later(visit, line, fault, self._ready(visit, refusal), started)

    async def _later(
        self,
        visit: Visit,
        line: Line,
        fault: Fault | None,
        truth: Callable[[], Response],
        started: float,
    ) -> None:
        scene = Scene(fault or TRUE, line, visit.request, truth)
        noted: list[int] = []

        def note() -> None:
            if not noted:
                noted.append(scene.status)
                self._note(visit, scene.status, started, fault)

        self.in_flight += 1
        try:
            await asyncio.sleep(self.latency_ms / 1000)
            await act_out(scene, note)
        finally:
            self.in_flight -= 1
            note()

    def _ready(self, visit: Visit, refusal: Response | None) -> Callable[[], Response]:
        def truth() -> Response:
            with self.world.lock:
                return refusal or self._truth(visit)

        return truth

    def _visit(self, request: Request) -> Visit:
        route, item = self.routes.find(request.path)
        visit = Visit(request, route, item, about=item)
        if route.needs == "token":
            visit.user = self.world.user_of_token(request.headers.get(TOKEN_HEADER, ""))
            visit.about = str((visit.user.external_id if visit.user else None) or "")
        elif route.template == "calendar/authenticate":
            visit.about = _asked_for(visit)
        return visit

    def _refuse(self, visit: Visit) -> Response | None:
        request, route = visit.request, visit.route
        if route is UNKNOWN:
            return not_found()
        if request.method == "GET" and request.body:
            return firewall()
        if (refusal := self._unwelcome(visit)) is not None:
            return refusal
        endpoint = route.endpoints.get(request.method)
        if endpoint is None:
            return wrong_method(request.method, ", ".join(route.endpoints))
        return self._limited(visit, endpoint)

    def _unwelcome(self, visit: Visit) -> Response | None:
        headers, needs = visit.request.headers, visit.route.needs
        if needs == "key":
            return self._check_key(headers.get("authorization"))
        if needs != "token" or visit.user is not None:
            return None
        if TOKEN_HEADER in headers:
            return unauthenticated("authentication_failed", "The calendar token is not valid.")
        return unauthenticated("not_authenticated", "The calendar token is missing.")

    def _check_key(self, given: str | None) -> Response | None:
        if not given:
            return unauthenticated("not_authenticated", "The API key is missing.")
        key = given.removeprefix("Token ").encode("latin-1", "replace")
        if hmac.compare_digest(key, self.api_key.encode()):
            return None
        detail = "The API key is not valid in this region."
        return unauthenticated("authentication_failed", detail)

    def _limited(self, visit: Visit, endpoint: Endpoint) -> Response | None:
        if endpoint.per_minute is None:
            return None
        # PUT and PATCH are one endpoint.
        method = visit.request.method.replace("PATCH", "PUT")
        whose = visit.user.id if visit.user else ""
        name = f"{method} {visit.route.template}"
        wait = self.limits.refuse(name, whose, endpoint.per_minute)
        return None if wait is None else throttled(wait)

    def _fault(self, visit: Visit, refusal: Response | None) -> Fault | None:
        if refusal is not None and refusal.status == 429:
            return None
        request = visit.request
        return self.faults.pick(visit.route.template, request.method, request.target, visit.about)

    def _truth(self, visit: Visit) -> Response:
        # Latency may have outlived the user.
        if visit.user is not None and visit.user.id not in self.world.users:
            return unauthenticated("authentication_failed", "The calendar user is gone.")
        try:
            return visit.route.endpoints[visit.request.method].answer(visit)
        except InvalidError as error:
            return invalid({error.name: error.problem})

    def _note(self, visit: Visit, status: int, started: float, fault: Fault | None = None) -> None:
        request = visit.request
        call = Call(
            time=self.world.clock(),
            method=request.method,
            path=request.path,
            template=visit.route.template,
            status=status,
            about=visit.about,
            ms=(time.perf_counter() - started) * 1000,
            has_authorization="authorization" in request.headers,
            has_calendar_token=TOKEN_HEADER in request.headers,
            has_body=bool(request.body),
            port=request.peer[1],
            fault=None if fault is None else fault.act,
        )
        self.calls.add(call)


def _asked_for(visit: Visit) -> str:
    try:
        return str(visit.fields().get("user_id", ""))
    except InvalidError:
        return ""
